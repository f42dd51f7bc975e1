//! Processes: how instances are started, watched and ended.
