//! Everstream inside a program of your own, beside a route of your own.
//!
//! `cargo run --example embed`, then `curl -N http://127.0.0.1:8080/countdown`, and whatever
//! Everstream serves: `curl http://127.0.0.1:8080/v1/models`.

use std::error::Error;
use std::time::Duration;

use axum::{Router, response::IntoResponse, routing::get};
use everstream::sse::{Sse, SseMessage};
use everstream::{App, Config, config_from, environment, router};
use futures_util::{StreamExt, stream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // As for the binary: a key in the environment, or a model server on this machine, is enough.
    let config = config_from(None, &environment())?;
    let listener = tokio::net::TcpListener::bind(config.listen).await?;
    axum::serve(listener, routes(config).await?).await?;
    Ok(())
}

pub(crate) async fn routes(config: Config) -> std::io::Result<Router> {
    let app = App::from_config(config).await?;
    Ok(Router::new()
        .route("/countdown", get(countdown))
        .merge(router(app)))
}

async fn countdown() -> impl IntoResponse {
    Sse::new(stream::iter((0..=3).rev()).then(async |n| {
        tokio::time::sleep(Duration::from_millis(n * 100)).await;
        SseMessage::new().event("left").data(n.to_string())
    }))
}
