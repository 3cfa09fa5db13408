//! One connection by rumqttc, which is known here alone.
//!
//! Its event loop is made anew for each connection. It keeps unacknowledged publishes, packet ids and a packet id that
//! came round too early (`collision`) beyond the connection, drops them where the broker has no session, and in 0.25.1
//! can come to send nothing any more (bytebeamio/rumqtt #1056, #1014); a fresh one has none of that, and the outbox has
//! every message anyway. [`Listener::next`] must be driven to its end once begun: dropped in mid-connect it begins anew,
//! dropped in mid-write it loses the packet.

mod diagnosis;
mod tls;

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Filter, LastWill, Packet, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};

use super::outbox::{Loss, WINDOW};
use super::post::Received;
use super::{Broker, Message, Trouble};
pub(super) use diagnosis::{network, refused, taken_over};

/// Most messages that the broker may send before the first of them is done. Mosquitto 2.0.11 keeps to it only until the
/// first acknowledgement.
pub(super) const RECEIVE_MAX: u16 = 16;
/// Most acknowledgements on their way to the event loop.
pub(super) const ACKNOWLEDGEMENTS: usize = 16;
/// TCP, TLS and the broker's answer take this long at most, in seconds; many of a fleet return together.
const CONNECT_S: u64 = 20;
/// rumqttc accepts no less.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(5);
/// Packet ids that rumqttc counts through: one more than messages in flight, because a subscription takes one, too.
const PACKET_IDS: u16 = WINDOW + 1;
/// Requests on their way to the event loop: the window, acknowledgements, a subscription and a goodbye always fit.
const REQUESTS: usize = WINDOW as usize + ACKNOWLEDGEMENTS + 2;
const SUCCESS: u8 = 0;

/// What a connection tells.
pub(super) enum Heard {
    /// The broker accepted us.
    Up { session_present: bool, window: u16, packet_bytes_max: usize, keep_alive: Duration },
    /// The next publish left under this packet id.
    Sent(u16),
    /// The broker's answer to the publish under this packet id.
    Answered(u16, Result<(), (u8, String)>),
    /// A message; its packet id at QoS 1.
    Message(Received, Option<u16>),
    /// Answers to the subscription: places of denied filters, with reasons.
    Subscribed(Vec<(usize, String)>),
    /// An acknowledgement is out.
    Acknowledged,
    /// Our goodbye is out.
    Left,
    /// A sign of life.
    Alive,
    /// Something of no consequence.
    Nothing,
}

/// Why a connection is no more.
pub(super) struct Ended {
    pub trouble: Trouble,
    pub loss: Loss,
    /// The broker closed it without a word, after it had accepted us.
    pub silently: bool,
}

/// Sends on a connection, without waiting.
pub(super) struct Sender {
    client: AsyncClient,
}

/// Drives a connection.
pub(super) struct Listener {
    events: EventLoop,
    secure: bool,
    up: bool,
    broker: String,
    packet_bytes_max: usize,
    bytes_in: usize,
    bytes_out: usize,
}

/// A connection that begins with the first [`Listener::next`]. Files are read now.
pub(super) fn open(broker: &Broker, will: Option<&Message>) -> Result<(Sender, Listener), Trouble> {
    let mut options = MqttOptions::new(&broker.client_id, &broker.host, broker.port);
    options.set_clean_start(false);
    options.set_session_expiry_interval(Some(seconds(broker.session_expiry)));
    options.set_keep_alive(broker.keep_alive.max(KEEP_ALIVE_MIN).min(Duration::from_secs(u16::MAX.into())));
    options.set_receive_maximum(Some(RECEIVE_MAX));
    options.set_max_packet_size(Some(u32::try_from(broker.packet_bytes_max).unwrap_or(u32::MAX)));
    options.set_outgoing_inflight_upper_limit(PACKET_IDS);
    options.set_manual_acks(true);
    options.set_connection_timeout(CONNECT_S);
    let mut network = NetworkOptions::new();
    // Small messages that wait for an answer each.
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let password = broker.password()?;
    if let Some(username) = &broker.username {
        options.set_credentials(username, password.unwrap_or_default());
    }
    if let Some(tls) = &broker.tls {
        let config = tls::config(tls)?;
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(config)));
    }
    if let Some(will) = will {
        options.set_last_will(LastWill::new(&will.topic, will.payload.clone(), QoS::AtLeastOnce, true, None));
    }
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    // It makes room for a hundred events, of which two or three are ever there: 40 KiB of a link.
    events.state.events = VecDeque::new();
    let listener = Listener {
        events,
        secure: broker.tls.is_some(),
        up: false,
        broker: format!("{}:{}", broker.host, broker.port),
        packet_bytes_max: broker.packet_bytes_max,
        bytes_in: 0,
        bytes_out: 0,
    };
    Ok((Sender { client }, listener))
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

impl Sender {
    /// Whether there was room, which [`REQUESTS`] sees to.
    #[must_use]
    pub fn publish(&self, message: Message) -> bool {
        let Message { topic, payload, retain } = message;
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload).is_ok()
    }

    /// The same for an acknowledgement.
    #[must_use]
    pub fn acknowledge(&self, packet_id: u16) -> bool {
        let publish = Publish { pkid: packet_id, qos: QoS::AtLeastOnce, ..Publish::default() };
        self.client.try_ack(&publish).is_ok()
    }

    /// False where one of the filters is none.
    #[must_use]
    pub fn subscribe(&self, filters: &[String]) -> bool {
        let filters = filters.iter().map(|filter| Filter::new(filter, QoS::AtLeastOnce));
        self.client.try_subscribe_many(filters).is_ok()
    }

    /// Asks for the goodbye to be sent.
    #[must_use]
    pub fn leave(&self) -> bool {
        self.client.try_disconnect().is_ok()
    }
}

impl Listener {
    /// What comes next. See the module for what dropping it does.
    pub async fn next(&mut self) -> Result<Heard, Ended> {
        match self.events.poll().await {
            Ok(Event::Incoming(packet)) => {
                self.bytes_in += packet.size();
                Ok(self.incoming(packet))
            }
            Ok(Event::Outgoing(outgoing)) => Ok(self.outgoing(outgoing)),
            Err(error) => Err(diagnosis::of(&error, &self.broker, self.secure, self.up)),
        }
    }

    /// Bytes that went and came since last asked, beside publishes of ours.
    pub fn bytes(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.bytes_out), std::mem::take(&mut self.bytes_in))
    }

    fn incoming(&mut self, packet: Packet) -> Heard {
        match packet {
            Packet::ConnAck(answer) => self.accepted(&answer),
            Packet::PubAck(answer) => Heard::Answered(answer.pkid, taken(&answer)),
            Packet::SubAck(answer) => Heard::Subscribed(denied(&answer)),
            Packet::Publish(Publish { qos, retain, topic, pkid, payload, .. }) => {
                let topic = String::from_utf8_lossy(&topic).into_owned();
                let packet_id = (qos == QoS::AtLeastOnce).then_some(pkid);
                Heard::Message(Received::new(topic, payload, retain), packet_id)
            }
            _ => Heard::Alive,
        }
    }

    fn accepted(&mut self, answer: &ConnAck) -> Heard {
        self.up = true;
        // Our CONNECT, about.
        self.bytes_out += 64;
        let properties = answer.properties.as_ref();
        let open = properties.and_then(|told| told.receive_max).unwrap_or(u16::MAX);
        let theirs = properties.and_then(|told| told.max_packet_size).unwrap_or(u32::MAX);
        Heard::Up {
            session_present: answer.session_present,
            window: WINDOW.min(open.saturating_sub(1)).max(1),
            packet_bytes_max: self.packet_bytes_max.min(usize::try_from(theirs).unwrap_or(usize::MAX)),
            keep_alive: self.events.options.keep_alive(),
        }
    }

    fn outgoing(&mut self, outgoing: Outgoing) -> Heard {
        match outgoing {
            Outgoing::Publish(packet_id) => return Heard::Sent(packet_id),
            Outgoing::Disconnect => return Heard::Left,
            Outgoing::PubAck(_) => {
                self.bytes_out += 4;
                return Heard::Acknowledged;
            }
            Outgoing::PingReq => self.bytes_out += 2,
            _ => {}
        }
        Heard::Nothing
    }
}

fn taken(answer: &PubAck) -> Result<(), (u8, String)> {
    let (code, meaning) = match answer.reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => (SUCCESS, ""),
        PubAckReason::UnspecifiedError => (128, "it gives no reason"),
        PubAckReason::ImplementationSpecificError => (131, "a rule of its own forbids it"),
        PubAckReason::NotAuthorized => (135, "its access rules do not let this station write there"),
        PubAckReason::TopicNameInvalid => (144, "it accepts no such topic"),
        PubAckReason::PacketIdentifierInUse => (145, "it thinks that an earlier message is still open"),
        PubAckReason::QuotaExceeded => (151, "it has no room for more of this station's messages"),
        PubAckReason::PayloadFormatInvalid => (153, "it does not accept what the message contains"),
    };
    if code == SUCCESS {
        return Ok(());
    }
    let said = answer.properties.as_ref().and_then(|told| told.reason_string.as_deref());
    Err((code, said.map_or_else(|| meaning.to_owned(), |said| format!("{meaning}: {said}"))))
}

fn denied(answer: &SubAck) -> Vec<(usize, String)> {
    let reasons = answer.return_codes.iter().enumerate();
    let denied = reasons.filter(|(_, reason)| !matches!(reason, SubscribeReasonCode::Success(_)));
    denied.map(|(place, reason)| (place, meaning(*reason).to_owned())).collect()
}

fn meaning(reason: SubscribeReasonCode) -> &'static str {
    match reason {
        SubscribeReasonCode::NotAuthorized => "its access rules do not let this station read there",
        SubscribeReasonCode::TopicFilterInvalid => "it accepts no such filter",
        SubscribeReasonCode::QuotaExceeded => "it has no room for more subscriptions",
        _ => "it gives no reason",
    }
}
