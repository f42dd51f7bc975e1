//! What stands in front of applications: behaviours 50 to 59, under both models.

// Which clients may come in.
mod ip;

// For whom a proxy speaks, and who is believed.
mod proxies;
