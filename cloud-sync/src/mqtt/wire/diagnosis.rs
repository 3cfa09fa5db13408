//! What an error of a connection means, and who can help.

use std::io;

use rumqttc::TlsError;
use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError};
use rustls::{AlertDescription, CertificateError};

use super::Ended;
use crate::mqtt::outbox::Loss;
use crate::mqtt::{Trouble, TroubleKind};

/// Of `error`, on a connection to `broker` ("host:port") with or without TLS, before or after it was accepted.
pub(super) fn of(error: &ConnectionError, broker: &str, secure: bool, up: bool) -> Ended {
    let loss = if objects(error) { Loss::Objection } else { Loss::Broken };
    let trouble = tls(error)
        .map(|error| of_tls(error, broker))
        .or_else(|| of_state(error, broker, secure, up))
        .unwrap_or_else(|| network(broker, &plain(error)));
    Ended { trouble, loss, silently: up && closed(error) }
}

fn closed(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => true,
        // TLS, without the word that ends it.
        ConnectionError::MqttState(state) => {
            io_of(state).is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

/// The error of TLS within, wherever the handshake or a later read put it.
fn tls(error: &ConnectionError) -> Option<&rustls::Error> {
    let io = match error {
        ConnectionError::Tls(TlsError::TLS(error)) => return Some(error),
        ConnectionError::Tls(TlsError::Io(io)) | ConnectionError::Io(io) => io,
        ConnectionError::MqttState(state) => io_of(state)?,
        _ => return None,
    };
    io.get_ref()?.downcast_ref()
}

fn io_of(state: &StateError) -> Option<&io::Error> {
    match state {
        StateError::Io(io) | StateError::Deserialization(PacketError::Io(io)) => Some(io),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error, broker: &str) -> Trouble {
    match error {
        rustls::Error::InvalidCertificate(why) => credentials("broker-tls", not_trusted(why, broker)),
        rustls::Error::AlertReceived(alert) => match rejected(*alert) {
            Some(what) => credentials(
                "broker-credentials",
                format!(
                    "the broker {broker} does not accept this station's certificate: {what}; put a valid one and its key \
                     in place"
                ),
            ),
            None => credentials(
                "broker-tls",
                format!(
                    "the broker {broker} ends the TLS handshake ({alert:?}): check which TLS versions and certificates \
                     it is set up for"
                ),
            ),
        },
        error => credentials(
            "broker-tls",
            format!("no secure connection to the broker {broker}: {error}; check that the port speaks TLS"),
        ),
    }
}

fn not_trusted(why: &CertificateError, broker: &str) -> String {
    let what = match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired: renew it on the broker, and check this station's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: check this station's clock"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name: use the name that it carries, or give the broker one for this name"
        }
        CertificateError::UnknownIssuer => {
            "was issued by an authority that this station does not know: name that authority's file as ca_file"
        }
        CertificateError::Revoked => "was revoked: the broker needs a new one",
        _ => return format!("the certificate of the broker {broker} cannot be accepted: {why}"),
    };
    format!("the certificate of the broker {broker} {what}")
}

/// What the broker found wrong with our certificate.
fn rejected(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired => "it asks for one and got none",
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA => "it does not know the authority that issued it",
        AlertDescription::CertificateUnknown
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => "it found it wrong",
        // What OpenSSL says before TLS 1.3 of a certificate that is missing.
        AlertDescription::HandshakeFailure => "it ended the handshake, as it does when it got none",
        _ => return None,
    })
}

/// Whether the broker minds something that we sent, so that the connection alone is not to blame.
fn objects(error: &ConnectionError) -> bool {
    use DisconnectReasonCode as Code;
    match error {
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => matches!(
            reason_code,
            Code::UnspecifiedError
                | Code::MalformedPacket
                | Code::ProtocolError
                | Code::ImplementationSpecificError
                | Code::NotAuthorized
                | Code::TopicNameInvalid
                | Code::PacketTooLarge
                | Code::QuotaExceeded
                | Code::PayloadFormatInvalid
                | Code::RetainNotSupported
                | Code::QoSNotSupported
        ),
        // Its answer to one of our messages has a reason that rumqttc cannot read, as 149 of Mosquitto.
        ConnectionError::MqttState(StateError::Deserialization(error)) => {
            matches!(error, PacketError::InvalidConnectReturnCode(_) | PacketError::InvalidReason(_))
        }
        ConnectionError::MqttState(StateError::OutgoingPacketTooLarge { .. }) => true,
        _ => false,
    }
}

fn of_state(error: &ConnectionError, broker: &str, secure: bool, up: bool) -> Option<Trouble> {
    match error {
        ConnectionError::ConnectionRefused(code) => Some(unwelcome(*code, broker)),
        ConnectionError::NotConnAck(_) => {
            Some(refused(format!("{broker} does not answer as an MQTT broker does: check host and port")))
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            Some(sent_away(*reason_code, reason_string.as_deref(), broker))
        }
        // A proxy that speaks TLS for a broker that is not there ends it so, too: it is tried again as on a bad network.
        ConnectionError::MqttState(state) if secure && !up && ended(state) => Some(network(
            broker,
            "it ended the connection after the TLS handshake; if it stays so, it may not like this station's certificate",
        )),
        ConnectionError::MqttState(state) if ended(state) => None,
        ConnectionError::MqttState(StateError::Deserialization(error)) => Some(refused(format!(
            "the broker {broker} sends what cannot be read ({error}): see its log, and check that it speaks MQTT 5"
        ))),
        _ => None,
    }
}

fn ended(state: &StateError) -> bool {
    matches!(state, StateError::ConnectionAborted) || io_of(state).is_some()
}

fn unwelcome(code: ConnectReturnCode, broker: &str) -> Trouble {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod => {
            credentials(
                "broker-credentials",
                format!(
                    "the broker {broker} does not accept this station ({code:?}): check username, password file and \
                     certificate against the broker's own"
                ),
            )
        }
        Code::ServerUnavailable
        | Code::ServerBusy
        | Code::ServiceUnavailable
        | Code::ConnectionRateExceeded => network(broker, &format!("it answers {code:?}")),
        code => refused(format!(
            "the broker {broker} refuses the connection ({code:?}): see its log for the reason"
        )),
    }
}

fn sent_away(code: DisconnectReasonCode, said: Option<&str>, broker: &str) -> Trouble {
    use DisconnectReasonCode as Code;
    let said = said.map(|said| format!(", \"{said}\"")).unwrap_or_default();
    match code {
        Code::SessionTakenOver => taken_over(&format!(
            "another client has connected to the broker {broker} under this station's name"
        )),
        Code::NotAuthorized => credentials(
            "broker-credentials",
            format!(
                "the broker {broker} no longer accepts this station{said}: check its user and access rules there"
            ),
        ),
        Code::ServerBusy
        | Code::ServerShuttingDown
        | Code::KeepAliveTimeout
        | Code::MaximumConnectTime
        | Code::ConnectionRateExceeded
        | Code::NormalDisconnection
        | Code::AdministrativeAction => network(broker, &format!("it ended the connection ({code:?}{said})")),
        code => refused(format!(
            "the broker {broker} ended the connection ({code:?}{said}): see its log for the reason"
        )),
    }
}

/// In words, without what only a programmer understands.
fn plain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Timeout(_) => "it did not answer in time".to_owned(),
        ConnectionError::Io(io) | ConnectionError::Tls(TlsError::Io(io)) => io.to_string(),
        ConnectionError::MqttState(StateError::AwaitPingResp | StateError::CollisionTimeout) => {
            "it stopped answering".to_owned()
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the connection ended".to_owned(),
        ConnectionError::MqttState(state) => {
            io_of(state).map_or_else(|| state.to_string(), |io| io.to_string())
        }
        error => error.to_string(),
    }
}

/// The broker cannot be reached: `what` says how one noticed.
pub(in crate::mqtt) fn network(broker: &str, what: &str) -> Trouble {
    Trouble {
        kind: TroubleKind::Network,
        rule: "network-unreachable",
        reason: format!(
            "the broker {broker} cannot be reached: {what}; the station goes on and tries again by itself, otherwise \
             check network and broker"
        ),
    }
}

/// Somebody else uses our name: `what` says how one noticed.
pub(in crate::mqtt) fn taken_over(what: &str) -> Trouble {
    Trouble {
        kind: TroubleKind::Refused,
        rule: "broker-taken-over",
        reason: format!("{what}: give each station its own name, and look whether a copy of this one runs"),
    }
}

fn credentials(rule: &'static str, reason: String) -> Trouble {
    Trouble { kind: TroubleKind::Credentials, rule, reason }
}

pub(in crate::mqtt) fn refused(reason: String) -> Trouble {
    Trouble { kind: TroubleKind::Refused, rule: "broker-refused", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosed(error: ConnectionError, up: bool) -> (TroubleKind, &'static str, Loss) {
        let Ended { trouble, loss, .. } = of(&error, "broker.example:8883", true, up);
        assert!(trouble.reason.contains("broker.example:8883"), "{}", trouble.reason);
        (trouble.kind, trouble.rule, loss)
    }

    fn during(error: rustls::Error) -> ConnectionError {
        ConnectionError::Tls(TlsError::Io(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// As TLS 1.3 tells it: when we read the answer to what we sent after the handshake.
    fn afterwards(error: rustls::Error) -> ConnectionError {
        let io = io::Error::new(io::ErrorKind::InvalidData, error);
        ConnectionError::MqttState(StateError::Deserialization(PacketError::Io(io)))
    }

    #[test]
    fn a_rejected_certificate_of_ours_is_known_in_and_after_the_handshake() {
        for alert in [
            AlertDescription::CertificateRequired,
            AlertDescription::CertificateExpired,
            AlertDescription::CertificateRevoked,
            AlertDescription::UnknownCA,
            AlertDescription::BadCertificate,
        ] {
            let expected = (TroubleKind::Credentials, "broker-credentials", Loss::Broken);
            assert_eq!(diagnosed(during(rustls::Error::AlertReceived(alert)), false), expected);
            assert_eq!(diagnosed(afterwards(rustls::Error::AlertReceived(alert)), false), expected);
        }
    }

    #[test]
    fn a_certificate_of_the_broker_is_told_with_what_is_wrong() {
        for (why, words) in [
            (CertificateError::Expired, "expired"),
            (CertificateError::NotValidYet, "not valid yet"),
            (CertificateError::NotValidForName, "another name"),
            (CertificateError::UnknownIssuer, "authority"),
            (CertificateError::Revoked, "revoked"),
        ] {
            let error = during(rustls::Error::InvalidCertificate(why));
            assert!(of(&error, "b:1", true, false).trouble.reason.contains(words), "{words}");
            assert_eq!(diagnosed(error, false), (TroubleKind::Credentials, "broker-tls", Loss::Broken));
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_busy_broker() {
        let refusal = |code| diagnosed(ConnectionError::ConnectionRefused(code), false);
        for code in [ConnectReturnCode::NotAuthorized, ConnectReturnCode::BadUserNamePassword] {
            assert_eq!(refusal(code), (TroubleKind::Credentials, "broker-credentials", Loss::Broken));
        }
        let busy = (TroubleKind::Network, "network-unreachable", Loss::Broken);
        assert_eq!(refusal(ConnectReturnCode::ServerBusy), busy);
        let other = (TroubleKind::Refused, "broker-refused", Loss::Broken);
        assert_eq!(refusal(ConnectReturnCode::ClientIdentifierNotValid), other);
    }

    #[test]
    fn a_goodbye_of_the_broker_is_told_by_its_reason() {
        let goodbye = |reason_code| {
            let reason_string = Some("why".to_owned());
            let state = StateError::ServerDisconnect { reason_code, reason_string };
            diagnosed(ConnectionError::MqttState(state), true)
        };
        use DisconnectReasonCode as Code;
        let shutdown = (TroubleKind::Network, "network-unreachable", Loss::Broken);
        assert_eq!(goodbye(Code::ServerShuttingDown), shutdown);
        assert_eq!(goodbye(Code::KeepAliveTimeout), shutdown);
        assert_eq!(
            goodbye(Code::SessionTakenOver),
            (TroubleKind::Refused, "broker-taken-over", Loss::Broken)
        );
        assert_eq!(goodbye(Code::PacketTooLarge), (TroubleKind::Refused, "broker-refused", Loss::Objection));
        assert_eq!(goodbye(Code::NotAuthorized).2, Loss::Objection);
    }

    #[test]
    fn what_breaks_is_the_network_and_what_is_unreadable_is_looked_for() {
        let broken = (TroubleKind::Network, "network-unreachable", Loss::Broken);
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(diagnosed(ConnectionError::Io(reset()), false), broken);
        assert_eq!(diagnosed(ConnectionError::MqttState(StateError::ConnectionAborted), true), broken);
        assert_eq!(diagnosed(ConnectionError::MqttState(StateError::ConnectionAborted), false), broken);
        assert_eq!(diagnosed(ConnectionError::MqttState(StateError::AwaitPingResp), true), broken);
        let during_read = StateError::Deserialization(PacketError::Io(reset()));
        assert_eq!(diagnosed(ConnectionError::MqttState(during_read), true), broken);
        let unreadable = StateError::Deserialization(PacketError::InvalidConnectReturnCode(149));
        let (kind, _, loss) = diagnosed(ConnectionError::MqttState(unreadable), true);
        assert_eq!((kind, loss), (TroubleKind::Refused, Loss::Objection));
    }

    #[test]
    fn only_a_silent_end_of_a_connection_that_was_up_looks_like_being_pushed_out() {
        let silently = |error, up| of(&error, "b:1", true, up).silently;
        let aborted = || ConnectionError::MqttState(StateError::ConnectionAborted);
        assert!(silently(aborted(), true) && !silently(aborted(), false));
        let io = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(!silently(
            ConnectionError::MqttState(StateError::Deserialization(PacketError::Io(io))),
            true
        ));
    }
}
