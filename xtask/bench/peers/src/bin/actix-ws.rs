//! How fast is actix-ws?

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::AggregatedMessage;
use anyhow::Result;
use futures_util::StreamExt as _;
use kit::{MESSAGE_LIMIT, Options};

fn main() -> Result<()> {
    let options = Options::of_process();
    rt::System::new().block_on(async {
        let server = HttpServer::new(|| App::new().route("/", web::get().to(answer)))
            .workers(options.workers)
            .tcp_nodelay(true)
            .backlog(2048)
            .bind(options.listen)?;
        for address in server.addrs() {
            kit::print_address(&address.to_string())?;
        }
        Ok(server.run().await?)
    })
}

async fn answer(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (response, mut session, messages) = actix_ws::handle(&request, body)?;
    let mut messages = messages
        .max_frame_size(MESSAGE_LIMIT)
        .aggregate_continuations()
        .max_continuation_size(MESSAGE_LIMIT);
    rt::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            let sent = match message {
                AggregatedMessage::Text(text) => session.text(text).await,
                AggregatedMessage::Binary(payload) => session.binary(payload).await,
                AggregatedMessage::Ping(payload) => session.pong(&payload).await,
                AggregatedMessage::Pong(_) => Ok(()),
                AggregatedMessage::Close(_) => return,
            };
            if sent.is_err() {
                return;
            }
        }
    });
    Ok(response)
}
