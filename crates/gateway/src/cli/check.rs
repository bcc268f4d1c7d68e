//! `everstream check`

use std::io::Write;

use everstream_core::config::{Backend, Config, Env, SyncMode, UpstreamConfig};
use everstream_core::units::{show_duration, show_size};

use super::{ConfigArgs, Failure};
use crate::server::Certificates;

pub(super) fn run(args: &ConfigArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let config = args.load(env)?;
    Certificates::load(&config.tls).map_err(|error| Failure::Other(error.to_string()))?;
    writeln!(out, "ok")?;
    for (what, lines) in summary(&config) {
        for (index, line) in lines.iter().enumerate() {
            let title = if index == 0 { what } else { "" };
            writeln!(out, "{title:<10} {line}")?;
        }
    }
    Ok(())
}

/// What would run, as a table of titles and lines.
fn summary(config: &Config) -> [(&'static str, Vec<String>); 6] {
    let data_dir = config.data_dir.as_ref().map_or_else(
        || "the user's own data directory".to_owned(),
        |path| path.display().to_string(),
    );
    let aliases = config.aliases.iter();
    [
        ("listen", vec![config.listen.to_string()]),
        ("data", vec![data_dir]),
        ("upstreams", upstreams(&config.upstreams)),
        (
            "aliases",
            aliases
                .map(|(name, model)| format!("{name} = {model}"))
                .collect(),
        ),
        ("keys", vec![keys(config)]),
        ("log", vec![log(config)]),
    ]
}

fn upstreams(upstreams: &[UpstreamConfig]) -> Vec<String> {
    if upstreams.is_empty() {
        return vec!["those found at start: `everstream upstreams found` shows them".to_owned()];
    }
    let line = |upstream: &UpstreamConfig| {
        let key = match upstream.keys().count() {
            0 => "without a key".to_owned(),
            1 => "with a key".to_owned(),
            several => format!("with {several} keys"),
        };
        let models = match &upstream.models {
            None => "its own list of models".to_owned(),
            Some(models) => models.join(", "),
        };
        let (name, base_url) = (upstream.name(), upstream.base_url());
        format!("{name}  {base_url}  {key}  {models}")
    };
    upstreams.iter().map(line).collect()
}

fn keys(config: &Config) -> String {
    let mut projects: Vec<&str> = config.keys.iter().map(|key| key.project.as_str()).collect();
    projects.sort_unstable();
    projects.dedup();
    match config.keys.len() {
        0 => "none: open to every program on this machine".to_owned(),
        count => format!("{count}, of: {}", projects.join(", ")),
    }
}

fn log(config: &Config) -> String {
    let log = &config.log;
    let place = match (log.backend, log.sync) {
        (Backend::Memory, _) => "in memory, gone after a restart".to_owned(),
        (Backend::Disk, SyncMode::None) => "on disk, not synced".to_owned(),
        (Backend::Disk, SyncMode::Always) => "on disk, synced before every answer".to_owned(),
        (Backend::Disk, SyncMode::Interval) => {
            format!("on disk, synced every {}", show_duration(log.sync_interval))
        }
    };
    let (size, time) = (show_size(log.max_bytes), show_duration(log.retention));
    format!("{place}; at most {size}; streams kept {time} after their end")
}
