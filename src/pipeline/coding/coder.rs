//! One interface for both directions, and every algorithm.

use std::io;

use compression_codecs::{
    BrotliDecoder, BrotliEncoder, DecodeV2, EncodeV2, GzipDecoder, GzipEncoder, ZstdDecoder, ZstdEncoder,
    brotli::params::EncoderParams,
    core::{
        Level as Effort,
        util::{PartialBuffer, WriteBuffer},
    },
    zstd::params::{CParameter, DParameter},
};

use crate::front::{Algorithm, Level};

/// Makes other bytes of bytes.
pub(in crate::pipeline) trait Coder: Send {
    /// Takes from `input`, and puts out what there is room for.
    fn run(&mut self, input: &mut PartialBuffer<&[u8]>, output: &mut WriteBuffer<'_>) -> io::Result<()>;

    /// Puts out all that can be said of the input so far; whether that is done.
    fn flush(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool>;

    /// Puts out the end; whether that is done.
    fn finish(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool>;
}

/// Compresses.
pub(in crate::pipeline) struct Encoder(Box<dyn EncodeV2 + Send>);

impl Encoder {
    pub(in crate::pipeline) fn new(algorithm: Algorithm, level: Level) -> Self {
        let pick = |fast, balanced, best| match level {
            Level::Fast => fast,
            Level::Balanced => balanced,
            Level::Best => best,
        };
        Self(match algorithm {
            Algorithm::Zstd => {
                let window = CParameter::window_log(WINDOW);
                Box::new(ZstdEncoder::new_with_params(pick(1, 3, 12), &[window]))
            }
            // Each answer in the making has a window, so that many at a time cost no more than they have to. The highest
            // quality is for what is compressed once and sent for ever.
            Algorithm::Brotli => {
                let params = EncoderParams::default().quality(Effort::Precise(pick(1, 4, 9)));
                let window = i32::try_from(WINDOW).expect("a small number");
                Box::new(BrotliEncoder::new(params.window_size(window)))
            }
            Algorithm::Gzip => Box::new(GzipEncoder::new(Effort::Precise(pick(1, 6, 9)).into())),
        })
    }
}

impl Coder for Encoder {
    fn run(&mut self, input: &mut PartialBuffer<&[u8]>, output: &mut WriteBuffer<'_>) -> io::Result<()> {
        self.0.encode(input, output)
    }

    fn flush(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        self.0.flush(output)
    }

    fn finish(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        self.0.finish(output)
    }
}

/// Unpacks. What follows the end has to be another whole one, where the algorithm knows of such.
pub(in crate::pipeline) struct Decoder {
    algorithm: Algorithm,
    inner: Box<dyn DecodeV2 + Send>,
    begun: bool,
    ended: bool,
}

impl Decoder {
    pub(in crate::pipeline) fn new(algorithm: Algorithm) -> Self {
        let inner: Box<dyn DecodeV2 + Send> = match algorithm {
            // What RFC 9659 lets a sender ask for at most.
            Algorithm::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(23)])),
            Algorithm::Brotli => Box::new(BrotliDecoder::new()),
            Algorithm::Gzip => Box::new(GzipDecoder::new()),
        };
        Self { algorithm, inner, begun: false, ended: false }
    }

    /// What is in it of the input so far; whether that was all.
    fn drain(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        match self.algorithm {
            // Only this way it notices its end.
            Algorithm::Zstd => {
                self.ended = self.inner.decode(&mut PartialBuffer::new(&[]), output)?;
                Ok(self.ended || !output.has_no_spare_space())
            }
            Algorithm::Brotli | Algorithm::Gzip => self.inner.flush(output),
        }
    }
}

impl Coder for Decoder {
    fn run(&mut self, input: &mut PartialBuffer<&[u8]>, output: &mut WriteBuffer<'_>) -> io::Result<()> {
        if self.ended {
            if self.algorithm == Algorithm::Brotli {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "there is something behind its end"));
            }
            self.inner.reinit()?;
        }
        self.begun = true;
        self.ended = self.inner.decode(input, output)?;
        Ok(())
    }

    fn flush(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        if self.ended { Ok(true) } else { self.drain(output) }
    }

    fn finish(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
        // Nothing, packed by nobody, is nothing.
        if self.ended || !self.begun {
            return Ok(true);
        }
        Ok(self.drain(output)?
            && !output.has_no_spare_space()
            && (self.ended || self.inner.finish(output)?))
    }
}

/// Half a megabyte, as a power of two.
const WINDOW: u32 = 19;
