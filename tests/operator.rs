//! The operator's door: who may enter, what each command does, and how it ends. Behaviours 27, 31 and 62.

// Who finds the door, and who may enter it.
mod door;

// Commands that change something.
mod commands;

// How things are.
mod status;

// How things are, again and again.
mod watching;

// What applications print, where that is kept in files.
mod logs;
