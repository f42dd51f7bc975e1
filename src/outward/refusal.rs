//! What is wrong with a server, or what it finds wrong with the host, in words that say what to do.

use std::{borrow::Cow, error::Error, io};

use rustls::{AlertDescription, CertificateError};

/// There is no TLS with a server.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotSecured(Cow<'static, str>);

impl NotSecured {
    pub(super) fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self(why.into())
    }

    /// What a handshake, or what came after it, has failed with.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => Self::new(explained(error)),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::new(CLOSED),
            None => Self::new(format!("the handshake broke off: {error}")),
        }
    }

    /// The same for an error of a connection that stands: others than those of TLS stay as they are.
    pub(crate) fn later(error: io::Error) -> io::Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some() {
            true => io::Error::new(error.kind(), Self::of(&error)),
            false => error,
        }
    }
}

impl From<NotSecured> for io::Error {
    fn from(error: NotSecured) -> Self {
        Self::other(error)
    }
}

/// What is wrong with the other side's TLS, if that is what led to an error.
#[must_use]
pub fn told(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<NotSecured>() {
            return Some(error.to_string());
        }
        if let Some(error) = error.downcast_ref() {
            return Some(explained(error).into_owned());
        }
        // An error of input and output has what is inside of it for no source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn explained(error: &rustls::Error) -> Cow<'static, str> {
    match error {
        rustls::Error::InvalidCertificate(wrong) => of_certificate(wrong),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::NoCertificatesPresented => "it shows no certificate".into(),
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS there; write http:// if that is meant".into()
        }
        rustls::Error::PeerIncompatible(_) => NOTHING_IN_COMMON.into(),
        other => other.to_string().into(),
    }
}

fn of_certificate(wrong: &CertificateError) -> Cow<'static, str> {
    use CertificateError as Wrong;
    match wrong {
        Wrong::UnknownIssuer => "its certificate is from an authority that the host does not know; name the authority's \
                                 PEM file with ca, and have the server send those between"
            .into(),
        Wrong::NotValidForName => "its certificate is for another name; say which with server_name".into(),
        Wrong::NotValidForNameContext { expected, presented } => {
            let presented: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
            let whose = match &*presented {
                [] => "no name at all".to_owned(),
                names => names.join(", "),
            };
            let expected = expected.to_str();
            format!("its certificate is for {whose}, and not for {expected}; if that is right, say so with server_name")
                .into()
        }
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            "its certificate has expired; have it renewed, or look at the clock".into()
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "its certificate is not valid yet; look at the clock".into()
        }
        Wrong::Revoked => "its certificate was revoked".into(),
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => "its certificate is not for servers".into(),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's own, and not a server's; name this very certificate with ca to believe it"
                .into()
        }
        other => format!("its certificate cannot be used: {other}").into(),
    }
}

fn of_alert(alert: AlertDescription) -> Cow<'static, str> {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => {
            "it wants a certificate of the host's own; name one with certificate and key".into()
        }
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::AccessDenied => {
            format!("it does not accept the host's own certificate, or wants another one (alert {alert:?})")
                .into()
        }
        Alert::UnrecognisedName => {
            "it has nothing of this name; say with server_name what it is called".into()
        }
        Alert::NoApplicationProtocol => "it does not speak HTTP/1.1".into(),
        Alert::HandshakeFailure => {
            "it agrees to nothing that the host offers, or wants a certificate of the host's own \
                                    (alert HandshakeFailure)"
                .into()
        }
        Alert::ProtocolVersion | Alert::InsufficientSecurity => NOTHING_IN_COMMON.into(),
        other => format!("it refuses the host (alert {other:?})").into(),
    }
}

/// `DnsName("a")`, or `IpAddress(10.0.0.1)`, as the library has it, without what is around the name.
fn plain(name: &str) -> &str {
    let address = || name.strip_prefix("IpAddress(").and_then(|address| address.strip_suffix(')'));
    name.split('"').nth(1).or_else(address).unwrap_or(name)
}

const CLOSED: &str =
    "it ended the connection in the middle of the handshake; see whether it speaks TLS there";
const NOTHING_IN_COMMON: &str =
    "it speaks none of the host's versions and cipher suites: TLS 1.2 and 1.3, with AEADs";
