//! Channels between the threads of a namenode, which tell how many messages wait in them and for how long.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use telemetry::{Queue, Waiting};

pub(crate) struct Sender<T> {
    channel: crossbeam_channel::Sender<(T, Waiting)>,
    queue: Arc<Queue>,
}

pub(crate) struct Receiver<T>(crossbeam_channel::Receiver<(T, Waiting)>);

/// A channel for `room` messages.
pub(crate) fn bounded<T>(room: usize, queue: &Arc<Queue>) -> (Sender<T>, Receiver<T>) {
    let (channel, receiver) = crossbeam_channel::bounded(room);
    (Sender { channel, queue: Arc::clone(queue) }, Receiver(receiver))
}

/// A channel without a bound of its own: whoever sends has one.
pub(crate) fn unbounded<T>(queue: &Arc<Queue>) -> (Sender<T>, Receiver<T>) {
    let (channel, receiver) = crossbeam_channel::unbounded();
    (Sender { channel, queue: Arc::clone(queue) }, Receiver(receiver))
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.channel.send((message, self.queue.enter())).map_err(|SendError((message, _))| SendError(message))
    }

    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.channel.try_send((message, self.queue.enter())).map_err(|error| match error {
            TrySendError::Full((message, _)) => TrySendError::Full(message),
            TrySendError::Disconnected((message, _)) => TrySendError::Disconnected(message),
        })
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        self.0.recv().map(|(message, _)| message)
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv().map(|(message, _)| message)
    }

    pub(crate) fn recv_timeout(&self, patience: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv_timeout(patience).map(|(message, _)| message)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), queue: Arc::clone(&self.queue) }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_and_what_is_refused_is_not() {
        let queue = Arc::new(Queue::default());
        let (sender, receiver) = bounded(2, &queue);
        sender.send(1).expect("there is room");
        sender.try_send(2).expect("there is room");
        assert!(matches!(sender.try_send(3), Err(TrySendError::Full(3))));
        assert_eq!(queue.depth(), 2);
        assert_eq!((receiver.recv(), receiver.try_recv()), (Ok(1), Ok(2)));
        assert_eq!(queue.depth(), 0);
        sender.send(4).expect("there is room");
        drop((sender, receiver));
        assert_eq!(queue.depth(), 0, "what nobody reads does not wait");
    }
}
