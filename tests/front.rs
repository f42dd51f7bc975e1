//! What stands in front of applications: behaviours 50 to 59, under both models.

// Files that are sent as they are.
mod files;
// Which clients may come in.
mod ip;

// For whom a proxy speaks, and who is believed.
mod proxies;
