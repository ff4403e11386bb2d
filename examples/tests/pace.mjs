// How are messages sent at a steady rate of 1,000 per second?

/** Calls `send` with each number below `count`: after each pause, for all that are due by now. */
export async function pace(count, send) {
  const began = performance.now();
  for (let sent = 0; sent < count;) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    const due = Math.min(count, performance.now() - began);
    for (; sent < due; sent += 1) send(sent);
  }
}
