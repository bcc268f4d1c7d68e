//! Which deployment has room for a request.

use std::sync::Arc;
use std::time::Duration;

use super::Way;
use crate::upstream::health::Health;

/// One look at the deployments, on behalf of many requests.
#[derive(Default)]
pub(super) struct Round {
    /// Those that take nothing just now, and whether only for want of room.
    shut: Vec<(*const Health, bool)>,
}

impl Round {
    /// The way by the first deployment that has room; `None` if there is one to be waited for.
    pub(super) fn offer(&mut self, deployments: &[Arc<Health>]) -> Option<Way> {
        let mut full = false;
        for (nth, health) in deployments.iter().enumerate() {
            let known = self.shut.iter().find(|(at, _)| *at == Arc::as_ptr(health));
            full |= match known {
                Some((_, full)) => *full,
                None => match health.admit(false) {
                    Ok(leave) => return Some(Way::By(nth, leave)),
                    Err(refused) => {
                        let full = refused.is_full();
                        self.shut.push((Arc::as_ptr(health), full));
                        full
                    }
                },
            };
        }
        (!full).then_some(Way::Shut)
    }
}

/// When the first of those takes requests again that do not for another reason than room.
pub(super) fn reopens(deployments: &[Arc<Health>]) -> Option<Duration> {
    let refused = deployments.iter().filter_map(|health| health.refused());
    let resting = refused.filter(|refused| !refused.is_full());
    resting.map(|refused| refused.rest()).min()
}
