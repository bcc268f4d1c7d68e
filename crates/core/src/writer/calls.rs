//! What the log says of the attempts at an answer.

use crate::record::{Dialled, Head, Record, SeamKind};

/// The attempts that a log has.
#[derive(Debug, Default)]
pub(super) struct Calls<'a> {
    /// How many were made.
    pub(super) made: u32,
    /// Those that did not come to nothing: one, or two that ran beside each other and were not heard.
    pub(super) open: Vec<Call<'a>>,
    /// What was delivered is of more than one run.
    pub(super) are_several: bool,
}

/// An attempt, and the head of its answer.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) dialled: &'a Dialled,
    pub(super) head: Option<&'a Head>,
}

impl<'a> Calls<'a> {
    /// Those of these records.
    pub(super) fn read(audit: &'a [Record]) -> Self {
        let mut calls = Self::default();
        for record in audit {
            calls.take(record);
        }
        calls
    }

    fn take(&mut self, record: &'a Record) {
        match record {
            Record::Dialled(dialled) => {
                self.made = self.made.max(dialled.attempt);
                let head = None;
                self.open.push(Call { dialled, head });
            }
            // Of two at once it is that of the one that is abandoned next.
            Record::Head(head) => {
                if let [call] = &mut self.open[..] {
                    call.head = Some(head);
                }
            }
            Record::Abandoned(gone) => self.close(gone.attempt),
            Record::Seam(seam) if seam.kind != SeamKind::Reattached => {
                self.are_several = true;
                self.close(seam.attempt);
            }
            _ => {}
        }
    }

    fn close(&mut self, attempt: u32) {
        self.open.retain(|call| call.dialled.attempt != attempt);
    }
}
