mod decode;
mod emit;
mod event;
mod render;

pub use decode::Decoder;
pub(in crate::dialect) use event::{failed, lost};
pub use render::Renderer;
