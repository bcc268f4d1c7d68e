//! How requests come to what limits them.

use std::net::IpAddr;

use everstream_core::dialect::extent;
use everstream_core::error::Error;

use crate::access::Caller;
use crate::app::App;
use crate::generate;
use crate::limits::{Asks, Permit, Tokens};

/// For a generation.
pub(super) async fn enter(
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
            // Four bytes a token is the usual rule of thumb for English text.
            input: request.body.len() as u64 / 4,
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

/// For what passes through, of which is known how many tokens it took when it is over, if ever.
/// `model` is its name at the upstream, empty for none.
pub(super) async fn pass(
    app: &App,
    caller: &Caller,
    address: Option<IpAddr>,
    model: &str,
) -> Result<Permit, Error> {
    let nothing = || Tokens {
        input: 0,
        output: Some(0),
    };
    let asks = Asks {
        caller,
        address,
        model: &|| model.to_owned(),
        tokens: &nothing,
    };
    let mut permit = app.limits.enter(&asks).await?;
    permit.begin();
    Ok(permit)
}
