//! The OpenAI dialect: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`.

mod besides;
mod envelope;
mod error;
mod fold;
mod identity;
mod named;
mod observe;
mod without;

pub use besides::models_besides;
pub use envelope::Envelope;
pub use error::{UpstreamFault, error_body, fault_body, fault_from_body, fault_from_event};
pub use fold::{fold, usage_event, usage_value};
pub use identity::{claim_key, fingerprint, repeat_key};
pub use named::Named;
pub use observe::{Kind, Marks, Observation, is_done, observe, observe_body};
pub(in crate::dialect) use without::without;
