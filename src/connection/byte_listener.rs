//! Where programs connect that speak neither our messages nor SecretConnection.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use rustix::net;

use crate::{
    connection::{ByteStream, ConnectionError},
    shutdown::{Registration, Shutdown},
};

/// A tcp listener that ends with shutdown.
#[derive(Debug)]
pub struct ByteListener {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    shutdown: Shutdown,
    _registration: Registration,
}

impl ByteListener {
    /// Listens on `address`. `shutdown` ends waits for connections, and reads on the connections themselves.
    ///
    /// # Errors
    /// `ConnectionError::ListenTcp` if another program has it, or it is none of this machine's.
    pub fn bind(address: SocketAddr, shutdown: &Shutdown) -> Result<Self, ConnectionError> {
        let failed = |source| ConnectionError::ListenTcp { address, source };
        let listener = Arc::new(TcpListener::bind(address).map_err(failed)?);
        let address = listener.local_addr().map_err(failed)?;
        let blocked = Arc::clone(&listener);
        let registration = shutdown.on_request(move || {
            // The kernel then ends a blocked accept, and refuses later ones.
            let _ = net::shutdown(&*blocked, net::Shutdown::Read);
        });
        Ok(Self {
            listener,
            address,
            shutdown: shutdown.clone(),
            _registration: registration,
        })
    }

    /// Where it listens; the port is the system's choice if it was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next connection. `limit` is how long its reads and writes mostly take.
    ///
    /// # Errors
    /// `Shutdown`; or another `ConnectionError`, after which the next call may succeed.
    pub fn accept(&self, limit: Duration) -> Result<ByteStream, ConnectionError> {
        let accepted = self.listener.accept();
        if self.shutdown.is_requested() {
            return Err(ConnectionError::Shutdown);
        }
        let (stream, _) = accepted.map_err(|source| ConnectionError::ListenTcp {
            address: self.address,
            source,
        })?;
        ByteStream::accepted(stream, limit, &self.shutdown)
    }
}
