//! Behaviour 22: what one application may take, so that the others have theirs.

// Requests at a time, and who waits.
mod requests;

// Processes: as whom, with which rights, and how much of the machine.
mod processes;
