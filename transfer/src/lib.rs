//! The block transfer protocol: frames, and the state machines of its three roles. No IO and no clock: a shell moves the
//! bytes between a socket, a disk and a machine, and tells the machine what time it is.
//!
//! - [`frame`]: how bytes become frames and back; [`message`]: what control frames say.
//! - [`Writer`]: the client end of a chain; [`Relay`]: one datanode in a chain; [`Reader`]: the client end of a read.
//!
//! Invariants, cited by tests:
//! 1. No bytes from a peer panic, and none make a decoder hold more than one frame of the largest size.
//! 2. A packet is acknowledged upstream only when this hop has stored it and every hop below has acknowledged it;
//!    acknowledgements never overtake each other.
//! 3. What a writer was acknowledged is never sent again with other bytes: a resumed chain continues exactly behind it.
//! 4. A reader delivers only bytes that match their checksums, in order, without gaps, exactly as many as were asked for.
//! 5. A bit that changes on its way is noticed before anything is done about what it says.

mod buffer;
pub mod frame;
pub mod message;
mod pace;
mod reader;
mod relay;
mod writer;

pub use buffer::{Buffer, Buffers};
pub use frame::{Flags, Frame, FrameError, Packet, Piece};
pub use message::{Alive, Control, Failed, Hop, Level, OpenLocal, OpenedLocal, Read, ReadReply, Resume, Setup};
pub use reader::{ReadError, Reader};
pub use relay::{Extent, Relay};
pub use writer::{Writer, WriterOptions};

/// The inputs and outputs of the machines.
pub mod machine {
    pub use crate::relay::{Input as RelayInput, Output as RelayOutput};
    pub use crate::writer::{Input as WriterInput, Output as WriterOutput};
}

use std::time::Duration;

/// A hop that has work outstanding says [`Control::Alive`] upstream this often, whatever else it says.
pub const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// A peer that owes an answer and has said nothing for this long is lost.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);
