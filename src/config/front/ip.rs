//! `[site.ip]`: which clients may come in.

use super::super::{fault::Refusal, keys, values::network, written::Section};
use crate::front::Ip;

pub(super) fn read(section: &Section<'_>) -> Option<Ip> {
    let section = super::table(section, "ip", &keys::IP)?;
    let networks = |key| section.read_each(key, network).unwrap_or_default();
    let ip = Ip {
        allow: networks("allow").into_iter().map(|(network, _)| network).collect(),
        deny: networks("deny").into_iter().map(|(network, _)| network).collect(),
        enforcement: super::enforcement(&section),
    };
    if section.value("allow").is_none() && section.value("deny").is_none() {
        section.refuse(
            "allow",
            &section.at,
            Refusal::new("is missing; say who may come in, or whom to deny"),
        );
    }
    Some(ip)
}
