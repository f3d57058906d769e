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

/// A moment of wall-clock time: nanoseconds since 1970-01-01 UTC. Only stamped by a leader or read from a file system;
/// never compared with a local clock to time something out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, Default, Debug)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Timestamp(#[n(0)] u64);

impl Timestamp {
    pub const EPOCH: Self = Self(0);

    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// This moment and `later`; stays at the last representable moment (the year 2554) rather than wrapping.
    pub const fn saturating_add(self, later: std::time::Duration) -> Self {
        let nanos = later.as_nanos();
        Self(self.0.saturating_add(if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }))
    }

    /// The time from `earlier` to this moment, zero if it lies after it.
    pub const fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
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
