//! A stand-alone model provider for tests in other languages, benchmarks and people: its answers
//! depend on the model's name, see `everstream_testkit::provider::named`.

use std::io::Write;
use std::sync::Arc;

use clap::Parser;
use everstream_testkit::provider::{Traffic, accept, named};
use tokio::net::TcpListener;

/// A model provider whose behaviour is in the name of the model.
///
/// fake: 20 tokens, 5 ms apart. fake-TOKENS-MS, fake-cut-N, fake-error-STATUS,
/// fake-midstream-error-N, fake-nodone, fake-slow-first-MS; any of them with -xK for K
/// events in one write. bench-TOKENS-MS stamps its tokens for the load generator. GET /_calls shows what came in, POST /_reset sets it to zero.
#[derive(Parser)]
struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Prints the port alone, for scripts, instead of the base URL.
    #[arg(long)]
    print_port: bool,
    /// Answers 401 to requests without this bearer token.
    #[arg(long, value_name = "KEY")]
    require_key: Option<String>,
}

// One thread: in a benchmark it shares one core with the load generator.
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    let port = listener.local_addr()?.port();
    let mut stdout = std::io::stdout();
    if options.print_port {
        writeln!(stdout, "{port}")?;
    } else {
        writeln!(stdout, "http://127.0.0.1:{port}/v1")?;
    }
    stdout.flush()?;
    let traffic = Arc::new(Traffic::default());
    let counted = Arc::clone(&traffic);
    let key = options.require_key;
    accept(listener, counted, move |request| {
        named::answer(request, &traffic, key.as_deref())
    })
    .await;
    Ok(())
}
