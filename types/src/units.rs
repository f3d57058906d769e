//! Sizes, offsets and times.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A text that should have been a size and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size; write a whole number with an optional unit, such as 128MiB, 4KiB or 512")]
pub struct ParseUnitError {
    text: String,
}

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Default)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] u64);

        impl $name {
            pub const ZERO: Self = Self(0);

            pub const fn new(bytes: u64) -> Self {
                Self(bytes)
            }

            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

bytes!(
    /// A number of bytes: a length, a capacity, a budget. Prints exactly: `128MiB`, `1000B`.
    ByteSize
);
bytes!(
    /// A position in a file, in bytes from its start.
    FileOffset
);
bytes!(
    /// A position in a block, in bytes from its start.
    BlockOffset
);

/// Units from the largest to the smallest.
const UNITS: [(u64, &str); 5] =
    [(1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

impl ByteSize {
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// For people: three significant digits and the unit that fits, such as `1.25GiB`.
    pub fn human(self) -> String {
        for (unit, name) in UNITS {
            if self.0 >= unit {
                let value = self.0 as f64 / unit as f64;
                let digits = if value >= 100.0 {
                    0
                } else if value >= 10.0 {
                    1
                } else {
                    2
                };
                return format!("{value:.digits$}{name}");
            }
        }
        format!("{}B", self.0)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for FileOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Display for BlockOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = ParseUnitError;

    /// Powers of two for `KiB`..`PiB` and their short forms `K`..`P`, powers of ten for `kB`/`KB`..`PB`.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let wrong = || ParseUnitError { text: text.to_owned() };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let scale: u64 = match unit.trim_start() {
            "" | "B" => 1,
            "KiB" | "K" | "k" => 1 << 10,
            "MiB" | "M" => 1 << 20,
            "GiB" | "G" => 1 << 30,
            "TiB" | "T" => 1 << 40,
            "PiB" | "P" => 1 << 50,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "PB" => 1_000_000_000_000_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(scale).map(Self).ok_or_else(wrong)
    }
}

/// As a number of bytes in machine-readable output, as a text with a unit (or a number) in configuration.
impl Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"128MiB\" or a number of bytes")
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A moment of wall-clock time: nanoseconds since 1970-01-01 UTC, from the year 1677 to 2262. Only stamped by a leader or read
/// from a file system; never compared with a local clock to time something out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize, Deserialize, Default, Debug)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Timestamp(#[n(0)] i64);

impl Timestamp {
    pub const EPOCH: Self = Self(0);

    /// Stays at the last representable moment rather than wrapping.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(if nanos > i64::MAX as u64 { i64::MAX } else { nanos as i64 })
    }

    /// Zero for what was before 1970, which only programs set.
    pub const fn nanos(self) -> u64 {
        if self.0 < 0 { 0 } else { self.0 as u64 }
    }

    pub const fn from_signed_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub const fn signed_nanos(self) -> i64 {
        self.0
    }

    /// This moment and `later`; stays at the last representable moment rather than wrapping.
    pub const fn saturating_add(self, later: std::time::Duration) -> Self {
        let nanos = later.as_nanos();
        Self(self.0.saturating_add(if nanos > i64::MAX as u128 { i64::MAX } else { nanos as i64 }))
    }

    /// The time from `earlier` to this moment, zero if it lies after it.
    pub const fn since(self, earlier: Self) -> std::time::Duration {
        if self.0 <= earlier.0 {
            return std::time::Duration::ZERO;
        }
        std::time::Duration::from_nanos(self.0.abs_diff(earlier.0))
    }
}

/// Earlier programs wrote moments as far as the year 2554: they become the last one.
impl<'b, C> Decode<'b, C> for Timestamp {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let nanos = i128::from(d.int()?);
        Ok(Self(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })))
    }
}

impl From<std::time::SystemTime> for Timestamp {
    /// The nearest moment that is representable.
    fn from(time: std::time::SystemTime) -> Self {
        let nanos = |duration: std::time::Duration| i64::try_from(duration.as_nanos());
        Self(match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => nanos(since).unwrap_or(i64::MAX),
            Err(before) => nanos(before.duration()).map_or(i64::MIN, |nanos| -nanos),
        })
    }
}

impl From<Timestamp> for std::time::SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = std::time::Duration::from_nanos(time.0.unsigned_abs());
        if time.0 < 0 { std::time::UNIX_EPOCH - distance } else { std::time::UNIX_EPOCH + distance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sizes_parse_what_they_print(bytes: u64) {
            prop_assert_eq!(ByteSize::new(bytes).to_string().parse(), Ok(ByteSize::new(bytes)));
        }
    }

    #[test]
    fn moments_go_through_the_clock_of_the_system_and_through_bytes() {
        for nanos in [0, 1, -1, -1_500_000_000, 1_234_567_890_123_456_789, i64::MIN, i64::MAX] {
            let time = Timestamp::from_signed_nanos(nanos);
            assert_eq!(Timestamp::from(std::time::SystemTime::from(time)), time);
            let bytes = minicbor::to_vec(time).expect("memory takes it");
            assert_eq!(minicbor::decode::<Timestamp>(&bytes).expect("it was just encoded"), time);
        }
        // What an earlier program wrote, as the byte that says "eight bytes follow" and those.
        let far = [&[0x1b][..], &u64::MAX.to_be_bytes()].concat();
        let last: Timestamp = minicbor::decode(&far).expect("still legal");
        assert_eq!(last, Timestamp::from_signed_nanos(i64::MAX));
        let after = Timestamp::EPOCH.since(Timestamp::from_signed_nanos(-5));
        assert_eq!((after, Timestamp::from_signed_nanos(-5).nanos()), (std::time::Duration::from_nanos(5), 0));
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!("128MiB".parse(), Ok(ByteSize::mib(128)));
        assert_eq!("4 K".parse(), Ok(ByteSize::kib(4)));
        assert_eq!("2GB".parse(), Ok(ByteSize::new(2_000_000_000)));
        assert_eq!(ByteSize::mib(128).to_string(), "128MiB");
        assert_eq!(ByteSize::new(1_288_490_188).human(), "1.20GiB");
        for text in ["", "MiB", "-1", "1.5MiB", "1XB", "99999999999999999999", "999999PiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
