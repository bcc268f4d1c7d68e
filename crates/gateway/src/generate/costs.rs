//! What a generation costs, from its first record to its end.

use everstream_core::id::StreamId;
use everstream_core::record::{End, Record};
use everstream_core::writer::Writer;

use super::Generator;
use crate::billing::{Hold, Meter, Tab};

/// What one runs up.
pub(super) struct Costs {
    /// `None` if not all of it was seen here: then it is read from the log in the end.
    tab: Option<Tab>,
    /// Where the answer is to end with its budgets.
    meter: Option<Meter>,
}

impl Costs {
    /// Those of a generation that begins with this tab, and that has a reserve, if it streams.
    pub(super) fn new(generator: &Generator, tab: Option<Tab>, hold: Option<&Hold>) -> Self {
        let billing = &generator.billing;
        let meter = hold.filter(|_| tab.is_some());
        let meter = meter.and_then(|hold| billing.meter(hold));
        Self { tab, meter }
    }

    /// The next record of the log.
    pub(super) fn push(&mut self, record: &Record) {
        if let Some(tab) = &mut self.tab {
            tab.push(record);
        }
    }

    /// Whether the answer has used up its reserve, and its budgets have nothing left.
    pub(super) fn are_over(&mut self, generator: &Generator, writer: &Writer) -> bool {
        let (Some(tab), Some(meter)) = (&self.tab, &mut self.meter) else {
            return false;
        };
        let used = writer.used();
        let cost = generator.billing.so_far(tab, writer.attempt(), &used);
        let is_over = meter.is_over(cost, || generator.draw_id());
        if is_over {
            self.meter = None;
            generator.billing.metrics().stopped();
        }
        is_over
    }

    /// Its end is in the log.
    pub(super) fn settle(&mut self, generator: &Generator, stream: StreamId, end: &End) {
        generator.billing.ended(stream, self.tab.take(), end);
    }
}
