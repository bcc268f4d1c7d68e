mod decode;
mod emit;
mod event;
mod render;

pub use decode::Decoder;
pub(in crate::dialect) use event::{failed, incomplete, lost};
pub use render::Renderer;
