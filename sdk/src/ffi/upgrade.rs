//! Handing over the stream of a connection whose protocol was changed.
//!
//! In: a response that changes the protocol. Out: what waits for the stream, and later the stream to it.
//! Never: runs the application's side in the host's call: it is a task of the application's runtime.

use std::{ffi::c_void, sync::Arc};

use cohost_abi as abi;
use http::{Method, StatusCode, response::Parts};

use super::{HostIo, guarded};
use crate::{Io, Upgrade, handshake::Handshake, instance::Shared, request::Plan, scope::Scope};

/// Who gets the stream.
enum Taker {
    /// The application's own, see [`Upgrade`].
    Own(Upgrade),
    /// Whoever holds hyper's `OnUpgrade`.
    Hyper(Box<Handshake>),
}

struct State {
    shared: Arc<Shared>,
    request_id: u64,
    taker: Taker,
}

/// What the host is to be given with this response, if it changes the protocol.
pub(super) fn take(shared: &Arc<Shared>, plan: &mut Plan, parts: &mut Parts) -> Option<abi::Upgrade> {
    let taker = if let Some(own) = parts.extensions.remove::<Upgrade>() {
        Taker::Own(own)
    } else if changes_protocol(parts, plan) {
        Taker::Hyper(plan.handshake.take()?)
    } else {
        return None;
    };
    let state = State { shared: Arc::clone(shared), request_id: plan.request_id, taker };
    Some(abi::Upgrade {
        size: size_of::<abi::Upgrade>(),
        state: Box::into_raw(Box::new(state)).cast(),
        on_io: Some(on_io),
        drop: Some(drop_state),
    })
}

fn changes_protocol(parts: &Parts, plan: &Plan) -> bool {
    parts.status == StatusCode::SWITCHING_PROTOCOLS
        || (plan.method == Method::CONNECT && !plan.translated && parts.status.is_success())
}

unsafe extern "C" fn on_io(state: *mut c_void, io: abi::Io) {
    guarded(|| {
        // SAFETY: made by `take`; the host calls either this or `drop_state`, once.
        let state = *unsafe { Box::from_raw(state.cast::<State>()) };
        let _runtime = state.shared.handle.enter();
        let _scope = Scope::enter(std::ptr::null_mut(), state.request_id);
        let io = Io::new(HostIo::new(state.shared.host, io));
        match state.taker {
            Taker::Own(upgrade) => upgrade.start(&state.shared.handle, io),
            Taker::Hyper(handshake) => handshake.finish(io),
        }
        abi::code::DONE
    });
}

unsafe extern "C" fn drop_state(state: *mut c_void) {
    guarded(|| {
        // SAFETY: as in `on_io`.
        let State { shared, request_id, taker } = *unsafe { Box::from_raw(state.cast::<State>()) };
        let _runtime = shared.handle.enter();
        let _scope = Scope::enter(std::ptr::null_mut(), request_id);
        drop(taker);
        abi::code::DONE
    });
}
