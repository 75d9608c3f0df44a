//! The expressions of rules, as far as the probe has to know them (linux/netfilter/nf_tables.h).

use netlink_packet_core::{NLA_HEADER_SIZE, NLA_TYPE_MASK};

/// One expression of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Loads what is known of the packet besides its bytes, or of its connection.
    Load { to: Register, key: Key },
    /// Loads bytes of the packet.
    Payload { to: Register, base: u32, offset: usize, length: usize },
    /// `to = (from & mask) ^ xor`.
    Bitwise { from: Register, to: Register, mask: Vec<u8>, xor: Vec<u8> },
    /// Goes on if the comparison holds.
    Compare { from: Register, how: Comparison, value: Vec<u8> },
    /// Goes on if the register is (`inside`) between these, or is not.
    Range { from: Register, inside: bool, first: Vec<u8>, last: Vec<u8> },
    /// Goes on if the set has the register's value, or (`inverted`) has not; of a map the value is loaded.
    Lookup { set: String, from: Register, to: Option<Register>, inverted: bool },
    /// Loads a constant.
    Constant { to: Register, value: Vec<u8> },
    /// Ends the rule with a verdict.
    Verdict(Verdict),
    /// Goes on if a match of iptables says so.
    Match { name: String, revision: u32, info: Vec<u8> },
    /// Does what a target of iptables does.
    Target(String),
    /// Changes the packet's mark.
    SetMark,
    /// Nothing that matters here.
    Nothing,
    /// Takes the packet to an unknown destination (a queue, a proxy).
    Elsewhere,
    /// Unknown: it may end the rule, and load anything.
    Unknown,
}

/// Where a register begins, in bytes of all registers.
pub(crate) type Register = usize;

/// What [`Step::Load`] loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Mark,
    InputIndex,
    OutputIndex,
    InputName,
    OutputName,
    Family,
    Ethertype,
    Protocol,
    ConnectionState,
    ConnectionStatus,
    Other,
}

/// NFT_CMP_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What becomes of a packet that a rule matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Return,
    Continue,
    Jump(String),
    Goto(String),
    Elsewhere,
}

/// The steps of a rule (NFTA_RULE_EXPRESSIONS).
pub(super) fn steps(expressions: &[u8]) -> Vec<Step> {
    attributes(expressions)
        .map(|(_, expression)| {
            let fields = Fields(expression);
            let name = fields.text(1).unwrap_or_default();
            step(&name, &Fields(fields.bytes(2).unwrap_or_default())).unwrap_or(Step::Unknown)
        })
        .collect()
}

fn step(name: &str, fields: &Fields<'_>) -> Option<Step> {
    Some(match name {
        "meta" => match (fields.register(1), fields.word(2)?) {
            (Some(to), key) => Step::Load { to, key: meta(key) },
            (None, META_MARK) => Step::SetMark,
            (None, _) => Step::Nothing,
        },
        "ct" => match fields.register(1) {
            Some(to) => Step::Load { to, key: connection(fields.word(2)?) },
            None => Step::Nothing,
        },
        "payload" => match fields.register(1) {
            Some(to) => Step::Payload {
                to,
                base: fields.word(2)?,
                offset: fields.word(3)? as usize,
                length: fields.word(4)? as usize,
            },
            None => Step::Nothing,
        },
        "bitwise" if fields.word(6).unwrap_or(0) == 0 => Step::Bitwise {
            from: fields.register(1)?,
            to: fields.register(2)?,
            mask: fields.value(4)?,
            xor: fields.value(5)?,
        },
        "cmp" => Step::Compare {
            from: fields.register(1)?,
            how: comparison(fields.word(2)?)?,
            value: fields.value(3)?,
        },
        "range" => Step::Range {
            from: fields.register(1)?,
            inside: fields.word(2)? == 0,
            first: fields.value(3)?,
            last: fields.value(4)?,
        },
        "lookup" => Step::Lookup {
            set: fields.text(1)?,
            from: fields.register(2)?,
            to: fields.any_register(3),
            inverted: fields.word(5).unwrap_or(0) & 1 != 0,
        },
        "immediate" => match fields.verdict(2) {
            Some(verdict) => Step::Verdict(verdict),
            None => Step::Constant { to: fields.register(1)?, value: fields.value(2)? },
        },
        "match" => Step::Match {
            name: fields.text(1)?,
            revision: fields.word(2).unwrap_or_default(),
            info: fields.bytes(3)?.to_vec(),
        },
        "target" => Step::Target(fields.text(1)?),
        "reject" => Step::Verdict(Verdict::Drop),
        "counter" | "log" | "last" | "notrack" => Step::Nothing,
        "queue" | "synproxy" | "tproxy" => Step::Elsewhere,
        _ => Step::Unknown,
    })
}

const META_MARK: u32 = 3;

fn meta(key: u32) -> Key {
    match key {
        1 => Key::Ethertype,
        META_MARK => Key::Mark,
        4 => Key::InputIndex,
        5 => Key::OutputIndex,
        6 => Key::InputName,
        7 => Key::OutputName,
        15 => Key::Family,
        16 => Key::Protocol,
        _ => Key::Other,
    }
}

fn connection(key: u32) -> Key {
    match key {
        0 => Key::ConnectionState,
        2 => Key::ConnectionStatus,
        _ => Key::Other,
    }
}

fn comparison(how: u32) -> Option<Comparison> {
    Some(match how {
        0 => Comparison::Equal,
        1 => Comparison::NotEqual,
        2 => Comparison::Less,
        3 => Comparison::LessOrEqual,
        4 => Comparison::Greater,
        5 => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// Attributes, one after the other: their numbers and values. What is cut off ends them.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..NLA_HEADER_SIZE)?.try_into().ok()?);
        let value = rest.get(NLA_HEADER_SIZE..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & NLA_TYPE_MASK, value))
    })
}

/// Attributes by number.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        attributes(self.0).find(|(number, _)| *number == kind).map(|(_, value)| value)
    }

    pub(super) fn word(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(kind)?.try_into().ok()?))
    }

    pub(super) fn text(&self, kind: u16) -> Option<String> {
        let bytes = self.bytes(kind)?;
        Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
    }

    /// A register with data in it.
    fn register(&self, kind: u16) -> Option<Register> {
        match self.word(kind)? {
            number @ 1..=4 => Some((number as usize - 1) * 16),
            number @ 8..=23 => Some((number as usize - 8) * 4),
            _ => None,
        }
    }

    /// The verdict's register, too: that of a map of verdicts. Nothing else is loaded there, so its place is any.
    fn any_register(&self, kind: u16) -> Option<Register> {
        self.word(kind)?;
        Some(self.register(kind).unwrap_or_default())
    }

    /// nft_data's value (NFTA_DATA_VALUE).
    pub(super) fn value(&self, kind: u16) -> Option<Vec<u8>> {
        Fields(self.bytes(kind)?).bytes(1).map(<[u8]>::to_vec)
    }

    /// nft_data's verdict (NFTA_DATA_VERDICT).
    pub(super) fn verdict(&self, kind: u16) -> Option<Verdict> {
        let data = Fields(self.bytes(kind)?);
        let verdict = Fields(data.bytes(2)?);
        let code = verdict.word(1)?.cast_signed();
        let chain = || verdict.text(2).unwrap_or_default();
        Some(match code {
            0 => Verdict::Drop,
            1 => Verdict::Accept,
            -1 => Verdict::Continue,
            -3 => Verdict::Jump(chain()),
            -4 => Verdict::Goto(chain()),
            -5 => Verdict::Return,
            _ => Verdict::Elsewhere,
        })
    }
}
