//! A body that passes a coder.
//!
//! What the coder holds back leaves as soon as the body has nothing more for the moment: an event is not kept until the
//! next one comes. Trailers stay. Memory is bounded by a piece of output, whatever the input would become.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::coder::Coder;
use crate::{Body, body::BodyError};

/// `body`, through a coder.
pub(in crate::pipeline) struct Coded<C> {
    body: Body,
    coder: C,
    /// What its errors are to the reader.
    refuse: Box<dyn Fn(io::Error) -> BodyError + Send>,
    stage: Stage,
    input: Bytes,
    /// Whether the coder may hold something back.
    is_dirty: bool,
    output: Vec<u8>,
    written: usize,
    /// How often something was coded since others had their turn.
    steps: usize,
    trailers: Option<HeaderMap>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    Flushing,
    Finishing,
    Ending,
    Ended,
}

impl<C: Coder> Coded<C> {
    /// `refuse` is asked what a reader gets where the coder cannot go on.
    pub(in crate::pipeline) fn new(
        body: Body,
        coder: C,
        refuse: impl Fn(io::Error) -> BodyError + Send + 'static,
    ) -> Self {
        Self {
            body,
            coder,
            refuse: Box::new(refuse),
            stage: Stage::Reading,
            input: Bytes::new(),
            is_dirty: false,
            output: Vec::new(),
            written: 0,
            steps: 0,
            trailers: None,
        }
    }

    /// One step of the coder.
    fn code(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            self.output = vec![0; PIECE];
        }
        let mut output = WriteBuffer::new_initialized(&mut self.output[self.written..]);
        match self.stage {
            Stage::Reading => {
                let part = &self.input[..self.input.len().min(STEP)];
                let mut input = PartialBuffer::new(part);
                self.coder.run(&mut input, &mut output)?;
                let (taken, made) = (input.written_len(), output.written_len());
                if taken == 0 && made == 0 {
                    return Err(io::Error::other("the codec takes nothing more"));
                }
                self.written += made;
                self.input.advance(taken);
                self.is_dirty = true;
            }
            Stage::Flushing => {
                if self.coder.flush(&mut output)? {
                    self.is_dirty = false;
                    self.stage = Stage::Reading;
                }
                self.written += output.written_len();
            }
            Stage::Finishing => {
                if self.coder.finish(&mut output)? {
                    self.stage = Stage::Ending;
                }
                self.written += output.written_len();
            }
            Stage::Ending | Stage::Ended => {}
        }
        Ok(())
    }

    /// What has been made so far.
    fn piece(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = Bytes::copy_from_slice(&self.output[..self.written]);
        self.written = 0;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.stage = Stage::Ended;
        self.body = Body::empty();
        Poll::Ready(Some(Err(error)))
    }

    /// Takes what the body has; `None` when that is nothing for the moment.
    fn read(&mut self, cx: &mut Context<'_>) -> Option<Result<(), BodyError>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return None,
            Poll::Ready(None) => self.stage = Stage::Finishing,
            Poll::Ready(Some(Err(error))) => return Some(Err(error)),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => self.input = data,
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    self.stage = Stage::Finishing;
                }
            },
        }
        Some(Ok(()))
    }
}

impl<C: Coder + Unpin> http_body::Body for Coded<C> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if this.written == PIECE {
                return this.piece();
            }
            if this.stage == Stage::Ending || this.stage == Stage::Ended {
                if this.written > 0 {
                    return this.piece();
                }
                this.stage = Stage::Ended;
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if this.stage == Stage::Reading && this.input.is_empty() {
                match this.read(cx) {
                    Some(Ok(())) => {}
                    Some(Err(error)) => return this.fail(error),
                    None if this.is_dirty => this.stage = Stage::Flushing,
                    None if this.written > 0 => return this.piece(),
                    None => {
                        this.steps = 0;
                        return Poll::Pending;
                    }
                }
                continue;
            }
            if this.steps == STEPS {
                // Others have something to do, too; also where the reader takes each piece at once.
                this.steps = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.steps += 1;
            if let Err(error) = this.code() {
                let error = (this.refuse)(error);
                return this.fail(error);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Ended && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// How many bytes leave at a time, at most.
const PIECE: usize = 16 * 1024;

/// How many go in at a time.
const STEP: usize = 32 * 1024;

/// How many pieces go in, or out, before others have their turn.
const STEPS: usize = 16;
