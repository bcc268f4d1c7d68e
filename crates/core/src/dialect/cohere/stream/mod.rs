mod decode;

pub use decode::Decoder;
