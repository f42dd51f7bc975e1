//! Handles: what an application holds instead of addresses.
//!
//! A handle is the place of an object in its generation's table together with how often that place was used before.
//! A late, doubled or invented handle therefore finds nothing, or something of another kind, and never another
//! request's object.

use std::sync::Arc;

use super::{Detached, io::Stream, push::Push, request_body::RequestBody};

/// What a handle stands for.
pub(super) enum Object {
    Token(Arc<Detached>),
    Body(Arc<RequestBody>),
    Sink(Arc<Push>),
    Io(Arc<Stream>),
}

/// Thread ids take 13 bits and places 21 (two million for each thread that makes them), which leaves 30 bits to count
/// the uses of a place: with the default of the crate it would be 14, and a busy place comes round in a second.
#[derive(Debug)]
struct Places;

impl sharded_slab::Config for Places {
    const MAX_PAGES: usize = 16;
}

/// The objects of one generation.
pub(in crate::dispatcher::in_process) struct Objects(sharded_slab::Slab<Object, Places>);

impl Objects {
    pub(in crate::dispatcher::in_process) fn new() -> Self {
        Self(sharded_slab::Slab::new_with_config())
    }

    /// Puts an object in; `None` when there is no place left.
    pub(super) fn insert(&self, object: Object) -> Option<usize> {
        // 0 is "no handle".
        self.0.insert(object).map(|key| key.wrapping_add(1))
    }

    /// Takes an object out; the handle is worth nothing from here on. False when it was not (any more) one.
    pub(super) fn remove(&self, handle: usize) -> bool {
        handle != 0 && self.0.remove(handle.wrapping_sub(1))
    }

    fn find<T>(&self, handle: usize, of_kind: impl FnOnce(&Object) -> Option<T>) -> Option<T> {
        if handle == 0 {
            return None;
        }
        of_kind(&*self.0.get(handle.wrapping_sub(1))?)
    }

    pub(super) fn token(&self, handle: usize) -> Option<Arc<Detached>> {
        self.find(handle, |object| if let Object::Token(it) = object { Some(Arc::clone(it)) } else { None })
    }

    pub(super) fn body(&self, handle: usize) -> Option<Arc<RequestBody>> {
        self.find(handle, |object| if let Object::Body(it) = object { Some(Arc::clone(it)) } else { None })
    }

    pub(super) fn sink(&self, handle: usize) -> Option<Arc<Push>> {
        self.find(handle, |object| if let Object::Sink(it) = object { Some(Arc::clone(it)) } else { None })
    }

    pub(super) fn io(&self, handle: usize) -> Option<Arc<Stream>> {
        self.find(handle, |object| if let Object::Io(it) = object { Some(Arc::clone(it)) } else { None })
    }
}
