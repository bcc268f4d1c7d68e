use std::net::IpAddr;

use everstream_core::dialect::extent;
use everstream_core::error::Error;
use everstream_core::event::tokens_of;

use crate::access::Caller;
use crate::app::App;
use crate::generate;
use crate::limits::{Asks, Permit, Tokens, Told};

/// Stages 3 to 5: takes of its limits what a planned request may use, reserves what it may cost, and
/// waits for its turn. What the client is told of its limits.
///
/// # Errors
/// When it is refused. What was taken is given back with the request.
pub async fn enter(
    app: &App,
    caller: &Caller,
    address: Option<IpAddr>,
    request: &mut generate::Request,
) -> Result<Told, Error> {
    app.lifecycle.admit()?;
    request.permit = permit(app, caller, address, request).await?;
    let told = request.permit.told();
    request.reserve(caller.payer(), &app.generator).await?;
    request.admit(&app.admission).await?;
    Ok(told)
}

async fn permit(
    app: &App,
    caller: &Caller,
    address: Option<IpAddr>,
    request: &generate::Request,
) -> Result<Permit, Error> {
    let native = request.surface.native();
    let tokens = || {
        let extent = extent(request.surface, &request.body);
        let choices = u64::from(request.choices).max(extent.made.unwrap_or(1));
        Tokens {
            input: tokens_of(request.body.len()),
            output: extent.output.map(|most| most.saturating_mul(choices)),
        }
    };
    let asks = Asks {
        caller,
        address,
        model: &|| app.models.known_as(&request.model, native),
        tokens: &tokens,
    };
    app.limits.enter(&asks).await
}
