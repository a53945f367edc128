//! tiny_http behind its private socket.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::catch_unwind;

use super::ServerError;
use super::private_socket::PrivateSocket;

/// A running tiny_http server and the way to it. When its accept loop dies, another is made.
pub(crate) struct Backend {
    /// Always there, but for the end of `drop`.
    server: Option<tiny_http::Server>,
    socket: PrivateSocket,
}

impl Backend {
    pub(crate) fn start() -> Result<Self, ServerError> {
        let (socket, listener) = PrivateSocket::create()?;
        Self::on(socket, listener)
    }

    /// Starts tiny_http on a listener that `socket` connects to.
    pub(crate) fn on(socket: PrivateSocket, listener: UnixListener) -> Result<Self, ServerError> {
        // It panics when the system gives no thread, and a panic here would end the front.
        let server = catch_unwind(|| tiny_http::Server::from_listener(listener, None))
            .map_err(|_| ServerError::Backend("the system gives no thread for it".into()))?
            .map_err(|error| ServerError::Backend(error.to_string()))?;
        Ok(Backend { server: Some(server), socket })
    }

    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        self.socket.connect()
    }

    /// The next request; an error when the accept loop has died, or after [`unblock`](Self::unblock).
    pub(crate) fn receive(&self) -> io::Result<tiny_http::Request> {
        match &self.server {
            Some(server) => server.recv(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Makes [`receive`](Self::receive) return once, without a request.
    pub(crate) fn unblock(&self) {
        if let Some(server) = &self.server {
            server.unblock();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Tells the accept loop to end; but its own way to wake that loop needs a name that the socket no longer has.
        drop(self.server.take());
        let _ = self.socket.connect();
    }
}
