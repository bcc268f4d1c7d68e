use crate::dialect::openai::fault_from_body;
use crate::fault::{Fault, FaultKind};

/// Reads the body of a response with an error status.
pub(in crate::dialect) fn read_error(status: u16, body: &[u8]) -> Fault {
    let mut fault = Fault::from(fault_from_body(status, body));
    // Cohere's own: the request or the answer has a token that the account forbids.
    if status == 498 {
        fault.kind = FaultKind::ContentFilter;
    }
    fault
}
