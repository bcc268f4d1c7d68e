//! `everstream serve`

use std::path::PathBuf;

use everstream_core::config::{Config, ConfigErrors, Env};

use super::{ConfigArgs, Failure};

const EXAMPLES: &str = "\
Without a configuration the upstreams are what is found here: keys in the environment
(OPENAI_API_KEY with OPENAI_BASE_URL, and the like) and model servers on this machine.

SIGTERM and SIGINT let running answers end; a second one ends at once.

Examples:
  everstream serve
  everstream serve --listen 127.0.0.1:9000 --data-dir /tmp/streams
  EVERSTREAM__STREAMS__HEARTBEAT=20s everstream serve --config everstream.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The address for clients [env: `EVERSTREAM_LISTEN`] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The directory for all state [env: `EVERSTREAM_DATA_DIR`]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl ServeArgs {
    /// The configuration with the arguments on top.
    pub(super) fn load(&self, mut env: Env) -> Result<Config, ConfigErrors> {
        if let Some(listen) = &self.listen {
            env.set_flag("EVERSTREAM_LISTEN", "--listen", listen);
        }
        let mut config = self.config.load(&env)?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir = Some(data_dir.clone());
        }
        Ok(config)
    }
}

pub(super) fn run(args: &ServeArgs, env: Env) -> Result<(), Failure> {
    let _config = args.load(env)?;
    Err(Failure::Other("this build has no server in it".to_owned()))
}
