//! The table of faults in `docs/recovery.md`: each fault of a provider in each phase of its answer, what
//! the client sees of it, how often providers are called, and how the log ends. Every row is played
//! against a gateway, and is a whole answer or an honest error within its bound.

mod cell;
mod flaps;
mod list;
mod random;
mod script;
mod table;
mod timeouts;

use cell::{SetUp, play};
use list::faults;
use table::Row;

/// `UPDATE=1` writes the table anew.
#[tokio::test]
async fn every_fault_is_a_whole_answer_or_an_honest_error_in_time() {
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for fault in faults() {
        for &form in fault.forms {
            for &set_up in SetUp::of(&fault, form) {
                let (seen, found) = play(&fault, set_up, form).await;
                wrong.extend(found);
                rows.push(Row {
                    phase: fault.phase,
                    fault: fault.name,
                    forms: fault.forms,
                    set_up,
                    form,
                    seen,
                });
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    table::check(&rows);
}
