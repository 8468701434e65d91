//! The listening socket.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("listen address {0} is taken by another program: choose another with --listen")]
    Taken(SocketAddr),
    /// No right to use the port.
    #[error("no permission to listen on {0}; a port below 1024 needs CAP_NET_BIND_SERVICE")]
    NoPermission(SocketAddr),
    /// Not an address of this machine.
    #[error("listen address {0} is not an address of this machine: choose another with --listen")]
    NotLocal(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::AddrInUse => Self::Taken(address),
            ErrorKind::PermissionDenied => Self::NoPermission(address),
            ErrorKind::AddrNotAvailable => Self::NotLocal(address),
            _ => Self::Other { address, source },
        }
    }
}

/// A socket that listens; connections wait in it until [`serve`](super::serve) takes them.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address. Port 0 lets the kernel choose one.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let error = |source| ListenError::new(address, source);
        let socket = TcpListener::bind(address).await.map_err(error)?;
        let address = socket.local_addr().map_err(error)?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenError, Listener};

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let first = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let error = Listener::bind(first.address()).await.unwrap_err();
        assert!(matches!(error, ListenError::Taken(address) if address == first.address()));
        assert_eq!(
            error.to_string(),
            format!(
                "listen address {} is taken by another program: choose another with --listen",
                first.address()
            )
        );
    }

    #[tokio::test]
    async fn a_foreign_address_is_named() {
        let error = Listener::bind(([198, 51, 100, 1], 0).into())
            .await
            .unwrap_err();
        assert!(matches!(error, ListenError::NotLocal(_)), "{error}");
    }
}
