mod decode;
mod render;

pub use decode::Decoder;
pub(super) use decode::is_empty;
pub use render::Renderer;
