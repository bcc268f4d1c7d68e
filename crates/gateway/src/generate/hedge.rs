//! The second of two upstreams that are asked at once, until one of them has content.

use everstream_core::dialect::Handle;
use everstream_core::policy::deployment::Report;
use everstream_core::writer::Input;

use super::attach::Asked;
use super::connection::Connection;
use super::driver::Driver;
use crate::clock::Clock;
use crate::upstream::health::Leave;

/// An upstream that is asked beside the first.
pub(super) struct Hedge {
    place: usize,
    leave: Leave,
    asked: Asked,
    connection: Connection,
}

impl Driver {
    /// Asks the deployment at a place of the route beside the one that is asked. What was refused is
    /// given back as the input that it is.
    pub(super) fn hedge(&mut self, place: usize, attempt: u32) -> Option<Input> {
        match self.course.as_mut()?.call(place, None) {
            Ok((leave, call)) => {
                self.hedge = Some(Box::new(Hedge {
                    place,
                    leave,
                    asked: call.asked(),
                    connection: self.connect(call, attempt),
                }));
                None
            }
            Err(refused) => Some(Input::Hedge(Box::new(Input::Broken(refused)))),
        }
    }

    /// The second one is over. A run of it that goes on is stopped.
    pub(super) fn hedge_lost(&mut self, report: Report, run: Option<Handle>) {
        if let Some(hedge) = self.hedge.take() {
            self.cancel(Some(hedge.asked), run);
            hedge.leave.finish(report);
        }
    }

    /// The first one is over, and the second takes its place. A run of the first that goes on is stopped.
    pub(super) fn hedge_leads(&mut self, report: Report, run: Option<Handle>) {
        let Some(hedge) = self.hedge.take() else {
            return;
        };
        let Hedge {
            place,
            leave,
            asked,
            connection,
        } = *hedge;
        (self.place, self.connection) = (place, connection);
        let first = self.asked.replace(asked);
        self.cancel(first, run);
        if let Some(first) = self.leave.replace(leave) {
            first.finish(report);
        }
    }
}

/// What the second one does next; pending for ever without one.
pub(super) async fn next(hedge: &mut Option<Box<Hedge>>, clock: Clock) -> Input {
    match hedge {
        None => std::future::pending().await,
        // Boxed, as it is rare and its size would be that of every driver.
        Some(hedge) => Input::Hedge(Box::new(Box::pin(hedge.connection.next(clock)).await)),
    }
}
