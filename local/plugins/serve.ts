import * as grpc from "@grpc/grpc-js";

/** Messages may be of any size: a whole chart's values or a large custom resource passes gRPC's 4 MiB default. */
export const MESSAGE_LIMITS: grpc.ChannelOptions = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
};

/**
 * Starts a plugin's gRPC server the way the engine expects: a free port on loopback, printed as the first line of
 * standard output, which is never written to again by the server itself.
 *
 * The engine holds the other end of standard input open for as long as it lives, so its end of file means that the
 * engine is gone, however it died. `onEngineGone` is then called to end children, just before the process exits.
 *
 * https://www.pulumi.com/docs/iac/extending-pulumi/build-a-provider/
 *
 * @throws when no port can be had.
 */
export async function serve(server: grpc.Server, onEngineGone: () => void): Promise<void> {
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  let leaving = false;
  const leave = (): void => {
    if (leaving) return;
    leaving = true;
    onEngineGone();
    process.exit(0);
  };
  process.stdin.on("end", leave).on("close", leave).on("error", leave).resume();
  process.on("SIGTERM", leave);
  process.stdout.write(`${port}\n`);
}
