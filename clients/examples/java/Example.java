// SPDX-License-Identifier: Apache-2.0
// Holds a slot for a while. usage: Example TARGET POOL [SECONDS]
import com.google.protobuf.Duration;
import google.rpc.ErrorDetails.ErrorInfo;
import io.grpc.*;
import io.grpc.stub.StreamObserver;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import leaseplane.v1.LeaseOuterClass.Lease;
import leaseplane.v1.LeaseServiceGrpc;
import leaseplane.v1.LeaseServiceOuterClass.*;

public class Example {
  static double now() { return System.nanoTime() / 1e9; }
  static double seconds(Duration d) { return d.getSeconds() + d.getNanos() / 1e9; }
  static Duration duration(long s) { return Duration.newBuilder().setSeconds(s).build(); }

  static String reasonOf(StatusRuntimeException error) throws Exception {
    byte[] bytes = error.getTrailers() == null ? null : error.getTrailers().get(
        Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER));
    if (bytes == null) return "";
    for (var detail : google.rpc.StatusOuterClass.Status.parseFrom(bytes).getDetailsList())
      if (detail.is(ErrorInfo.class)) return detail.unpack(ErrorInfo.class).getReason();
    return "";
  }

  // The one rule: after this instant the slot may be somebody else's.
  static double safeUntil(double sent, Duration queued, Duration remaining) {
    return sent + (seconds(queued) + seconds(remaining)) * 0.99 - 0.25;
  }

  // Renews until `end`; returns why it had to stop before, or null.
  static String hold(LeaseServiceGrpc.LeaseServiceStub stub, Lease lease, double safe,
                     double interval, double end) throws InterruptedException {
    var state = new Object() { volatile double safeNow = safe; volatile String lost; };
    Map<Long, Double> sent = new ConcurrentHashMap<>();
    var requests = stub.keepAlive(new StreamObserver<KeepAliveResponse>() {
      public void onNext(KeepAliveResponse answer) {
        var renewed = answer.getRenewed();
        if (answer.hasRenewed()) state.safeNow = safeUntil(sent.get(renewed.getSequence()),
            renewed.getQueuedDuration(), renewed.getRemainingDuration());
        if (answer.hasLost()) state.lost = answer.getLost().getReason().name();
      }
      public void onError(Throwable error) {} // then nothing renews, and the safe deadline comes
      public void onCompleted() {}
    });
    long number = 0;
    for (double renewal = now() + interval; now() < end; Thread.sleep(20)) { // a piece of the work
      if (state.lost != null) return state.lost;
      if (now() >= state.safeNow) return "SAFE_DEADLINE";
      if (now() < renewal) continue;
      sent.put(++number, now());
      renewal = now() + interval;
      requests.onNext(KeepAliveRequest.newBuilder().addRenewals(KeepAliveRequest.Renewal
          .newBuilder().setName(lease.getName()).setFencingToken(lease.getFencingToken())
          .setSequence(number)).build());
    }
    requests.onCompleted();
    return null;
  }

  public static void main(String[] args) throws Exception {
    double time = args.length > 2 ? Double.parseDouble(args[2]) : 3;
    ManagedChannel channel = ManagedChannelBuilder.forTarget(args[0]).usePlaintext().build();
    var blocking = LeaseServiceGrpc.newBlockingStub(channel);
    double sent = now(); // monotonic
    int code = 1;
    try {
      var got = blocking.withDeadlineAfter(10, TimeUnit.SECONDS).acquireLease(
          AcquireLeaseRequest.newBuilder().setParent("pools/" + args[1]).setTtl(duration(15))
              .setMaxWaitDuration(duration(1)).setClientId("java-example")
              .setRequestId(UUID.randomUUID().toString()).build());
      Lease lease = got.getLease(); // its token is for what the slot guards
      double safe = safeUntil(sent, got.getQueuedDuration(), got.getRemainingDuration());
      System.out.printf("held slot=%d token=%d safe_for=%.3f%n", lease.getSlotIndex(),
          lease.getFencingToken(), safe - sent);
      String why = hold(LeaseServiceGrpc.newStub(channel), lease, safe,
          seconds(got.getRenewInterval()), sent + time);
      if (why == null) blocking.withDeadlineAfter(10, TimeUnit.SECONDS).releaseLease(
          ReleaseLeaseRequest.newBuilder().setName(lease.getName())
              .setFencingToken(lease.getFencingToken()).build());
      System.out.println(why == null ? "released" : "lost " + why);
      code = why == null ? 0 : 1;
    } catch (StatusRuntimeException error) {
      Status.Code status = error.getStatus().getCode();
      System.out.println("refused " + status + " " + reasonOf(error));
      if (status == Status.Code.RESOURCE_EXHAUSTED) code = 75;
    }
    channel.shutdownNow();
    System.exit(code);
  }
}
