mod choice;
mod decode;
mod render;

pub(super) use choice::is_empty;
pub use decode::Decoder;
pub use render::Renderer;
