//! What must hold between fields.

use std::collections::{BTreeMap, BTreeSet};

use super::mistake::{Fault, Place, did_you_mean, nearest};
use super::read::Reader;
use super::{Config, KeyConfig, UpstreamConfig, values};
use crate::units::show_size;

/// The variable with keys of clients.
const API_KEYS: &str = "EVERSTREAM_API_KEYS";

/// Adds the keys of [`API_KEYS`], each with a project of its own.
pub(super) fn add_keys_of_environment(config: &mut Config, reader: &mut Reader<'_>) {
    let Some(list) = reader.env().non_empty(API_KEYS) else {
        return;
    };
    for (index, key) in values::keys_of_variable(list).into_iter().enumerate() {
        let fault = match key {
            Ok((project, hash)) if config.keys.iter().all(|key| key.hash != hash) => {
                config.keys.push(KeyConfig {
                    project,
                    hash,
                    on_disconnect: None,
                });
                continue;
            }
            Ok(_) => format!("key {} is configured twice", index + 1).into(),
            Err(fault) => fault,
        };
        reader.note(Place::Variable(API_KEYS.to_owned()), "keys", fault, None);
    }
}

/// Checks all that more than one field has a say in. Resolves aliases of aliases.
pub(super) fn check(config: &mut Config, reader: &mut Reader<'_>) {
    at_most(
        reader,
        ("log.segment_bytes", config.log.segment_bytes),
        ("log.max_bytes", config.log.max_bytes),
    );
    let event_bytes = u64::try_from(config.limits.event_bytes).unwrap_or(u64::MAX);
    at_most(
        reader,
        ("limits.event_bytes", event_bytes),
        ("limits.stream_bytes", config.limits.stream_bytes),
    );
    public_needs_keys(config, reader);
    tls(config, reader);
    for (index, upstream) in config.upstreams.iter().enumerate() {
        concurrency(upstream, &format!("upstreams[{index}]"), reader);
    }
    if !reader.is_torn() {
        aliases(config, reader);
    }
}

fn at_most(reader: &mut Reader<'_>, small: (&str, u64), large: (&str, u64)) {
    if small.1 <= large.1 || reader.doubtful(small.0) || reader.doubtful(large.0) {
        return;
    }
    // Reported where something was written: the other one may be a default.
    let [(at, value), (other, bound)] = if reader.is_written(small.0) {
        [small, large]
    } else {
        [large, small]
    };
    let relation = if value > bound { "larger" } else { "smaller" };
    let (value, bound) = (show_size(value), show_size(bound));
    reader.note_at(
        at,
        format!("{value} is {relation} than {other}, which is {bound}").into(),
    );
}

fn concurrency(upstream: &UpstreamConfig, section: &str, reader: &mut Reader<'_>) {
    let [least, most] =
        ["min_concurrency", "max_concurrency"].map(|name| format!("{section}.{name}"));
    let Some(at_least) = upstream.min_concurrency else {
        return;
    };
    if reader.is_torn() || reader.doubtful(&least) || reader.doubtful(&most) {
        return;
    }
    let fault = match upstream.max_concurrency {
        Some(at_most) if at_least <= at_most => return,
        Some(at_most) => {
            format!("{at_least} is larger than max_concurrency, which is {at_most}").into()
        }
        None => Fault::from("there is no max_concurrency, between which and this it adapts")
            .hint("add `max_concurrency`, such as 200"),
    };
    reader.note_at(&least, fault);
}

fn tls(config: &Config, reader: &mut Reader<'_>) {
    let (certificate, key) = (config.tls.certificate.is_some(), config.tls.key.is_some());
    let needs = [
        ("tls.certificate", certificate, "tls.key", key),
        ("tls.key", key, "tls.certificate", certificate),
        (
            "tls.client_ca",
            config.tls.client_ca.is_some(),
            "tls.certificate",
            certificate,
        ),
        (
            "tls.client_auth",
            reader.is_written("tls.client_auth"),
            "tls.client_ca",
            config.tls.client_ca.is_some(),
        ),
    ];
    for (field, is_set, needed, is_there) in needs {
        if is_set && !is_there && !reader.doubtful(field) && !reader.doubtful(needed) {
            let fault = Fault::from(format!("this is of no use without {needed}"));
            reader.note_at(field, fault);
        }
    }
}

fn public_needs_keys(config: &Config, reader: &mut Reader<'_>) {
    let public = !config.listen.ip().to_canonical().is_loopback();
    let has_keys = !config.keys.is_empty() || !config.jwt_issuers.is_empty() || config.require_keys;
    if public && !has_keys && !reader.doubtful("listen") && !reader.doubtful("keys") {
        let problem = "this address can be reached from other machines, and no keys are configured";
        let hint = "make a key with `everstream key new --project NAME`, set `require_keys` if they are in \
                    the database, or listen on 127.0.0.1";
        reader.note_at("listen", Fault::from(problem).hint(hint));
    }
}

fn aliases(config: &mut Config, reader: &mut Reader<'_>) {
    let mut resolved = BTreeMap::new();
    for alias in config.aliases.keys() {
        match follow(alias, &config.aliases) {
            Ok(model) => {
                resolved.insert(alias.clone(), model.to_owned());
            }
            Err(circle) if circle.first() == Some(alias) => {
                let way: Vec<String> = circle.iter().map(|name| format!("`{name}`")).collect();
                let problem = format!(
                    "the alias leads back to itself, by way of {}",
                    way.join(", ")
                );
                reader.note_at(&format!("aliases.{alias}"), problem.into());
            }
            // The circle is reported once, at another alias.
            Err(_) => {}
        }
    }
    for (alias, model) in &config.aliases {
        if !config.aliases.contains_key(model) {
            upstream_exists(alias, model, config, reader);
        }
    }
    config.aliases = resolved;
}

/// The model that an alias stands for in the end; or the circle, from its first name in order.
fn follow<'c>(
    alias: &'c str,
    aliases: &'c BTreeMap<String, String>,
) -> Result<&'c str, BTreeSet<String>> {
    let mut name = alias;
    let mut seen = BTreeSet::new();
    while let Some(next) = aliases.get(name) {
        if !seen.insert(name.to_owned()) {
            // From here on only the circle itself, without the way that led into it.
            let mut circle = BTreeSet::new();
            while circle.insert(name.to_owned()) {
                name = &aliases[name];
            }
            return Err(circle);
        }
        name = next;
    }
    Ok(name)
}

fn upstream_exists(alias: &str, model: &str, config: &Config, reader: &mut Reader<'_>) {
    let Some((upstream, _)) = model.split_once('/') else {
        return;
    };
    let listed = |models: &Vec<String>| models.iter().any(|listed| listed == model);
    let mut upstreams = config.upstreams.iter();
    if upstreams.any(|upstream| upstream.models.as_ref().is_some_and(listed))
        || config.routes.iter().any(|route| route.model == model)
    {
        return;
    }
    let problem = "the part before `/` is not the name of an upstream";
    require_upstream(upstream, problem, &format!("aliases.{alias}"), reader);
}

/// Notes the `problem` at `field`, unless there is an upstream of this name, or may be.
pub(super) fn require_upstream(name: &str, problem: &str, field: &str, reader: &mut Reader<'_>) {
    let names: Vec<&str> = reader.claimed("upstreams[].name").collect();
    // Without any, those are used that are found at start.
    if names.is_empty() || names.contains(&name) {
        return;
    }
    let hint = match nearest(name, names.iter().copied()) {
        Some(near) => did_you_mean(near),
        // It may be the one whose entry is mistaken.
        None if reader.doubtful("upstreams") => return,
        None => format!("the upstreams are: {}", names.join(", ")),
    };
    reader.note_at(field, Fault::from(problem).hint(hint));
}
