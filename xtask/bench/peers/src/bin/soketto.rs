//! How fast is soketto?

use anyhow::{Result, bail};
use futures_util::io::{BufReader, BufWriter};
use kit::{Deflate, MESSAGE_LIMIT, Options};
use soketto::connection::{Receiver, Sender};
use soketto::handshake::{Server, server::Response};
use soketto::{Data, Mode};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

fn main() -> Result<()> {
    let options = Options::of_process();
    kit::serve(options, move |stream| welcome(stream, options))
}

/// soketto has no buffers. Its examples wrap streams like this.
type Stream = BufReader<BufWriter<Compat<TcpStream>>>;

async fn welcome(stream: TcpStream, options: &'static Options) -> Result<()> {
    let (sender, receiver) = Box::pin(shake_hands(stream, options)).await?;
    tokio::spawn(echo(sender, receiver));
    Ok(())
}

async fn shake_hands(
    stream: TcpStream,
    options: &Options,
) -> Result<(Sender<Stream>, Receiver<Stream>)> {
    let mut server = Server::new(BufReader::new(BufWriter::new(stream.compat())));
    if options.deflate != Deflate::Off {
        server.add_extension(Box::new(soketto::extension::deflate::Deflate::new(Mode::Server)));
    }
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    let mut builder = server.into_builder();
    builder.set_max_message_size(MESSAGE_LIMIT);
    builder.set_max_frame_size(MESSAGE_LIMIT);
    Ok(builder.finish())
}

async fn echo(mut sender: Sender<Stream>, mut receiver: Receiver<Stream>) -> Result<()> {
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await? {
            Data::Binary(_) => sender.send_binary_mut(&mut message).await?,
            // soketto leaves the UTF-8 check to the application.
            Data::Text(_) => match std::str::from_utf8(&message) {
                Ok(text) => sender.send_text(text).await?,
                Err(_) => bail!("a message is not UTF-8"),
            },
        }
        sender.flush().await?;
    }
}
