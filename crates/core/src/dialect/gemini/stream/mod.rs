mod decode;
mod render;

pub use decode::Decoder;
pub use render::Renderer;
