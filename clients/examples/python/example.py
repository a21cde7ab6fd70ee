# SPDX-License-Identifier: Apache-2.0
"""Holds a slot for a while. usage: example.py TARGET POOL [SECONDS]"""
import queue, sys, threading, time, uuid
import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from leaseplane.v1 import lease_pb2, lease_service_pb2 as pb, lease_service_pb2_grpc

now = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the host is suspended

def reason_of(error):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason

def safe_until(sent, answer):  # the one rule: after this instant the slot may be somebody else's
    held = answer.queued_duration.ToNanoseconds() + answer.remaining_duration.ToNanoseconds()
    return sent + held / 1e9 * 0.99 - 0.25

def hold(stub, lease, safe, interval, end):
    requests, sent, lost = queue.Queue(), {}, []
    def listen():
        nonlocal safe
        for answer in stub.KeepAlive(iter(requests.get, None)):
            if answer.HasField("renewed"):
                safe = safe_until(sent.pop(answer.renewed.sequence), answer.renewed)
            elif answer.HasField("lost"):
                lost.append(lease_pb2.ErrorReason.Name(answer.lost.reason))
    threading.Thread(target=listen, daemon=True).start()
    next_renewal = now() + interval
    while now() < end:
        if lost or now() >= safe:
            return lost[0] if lost else "SAFE_DEADLINE"
        if now() >= next_renewal:
            number, next_renewal = len(sent) + int(now() * 1e3), now() + interval
            sent[number] = now()
            requests.put(pb.KeepAliveRequest(renewals=[pb.KeepAliveRequest.Renewal(
                name=lease.name, fencing_token=lease.fencing_token, sequence=number)]))
        time.sleep(0.02)  # a piece of the work; hand lease.fencing_token to what the slot guards

def main(target, pool, seconds="3"):
    stub = lease_service_pb2_grpc.LeaseServiceStub(grpc.insecure_channel(target))
    sent = now()
    try:
        got = stub.AcquireLease(pb.AcquireLeaseRequest(
            parent=f"pools/{pool}", ttl=Duration(seconds=15), max_wait_duration=Duration(seconds=1),
            client_id="python-example", request_id=str(uuid.uuid4())), timeout=10)
        safe = safe_until(sent, got)
        print(f"held slot={got.lease.slot_index} token={got.lease.fencing_token} "
              f"safe_for={safe - sent:.3f}", flush=True)
        interval = got.renew_interval.ToNanoseconds() / 1e9
        why = hold(stub, got.lease, safe, interval, sent + float(seconds))
        if why:
            print(f"lost {why}")
            return 1
        stub.ReleaseLease(pb.ReleaseLeaseRequest(
            name=got.lease.name, fencing_token=got.lease.fencing_token), timeout=10)
        print("released")
    except grpc.RpcError as error:
        print(f"refused {error.code().name} {reason_of(error)}")
        return 75 if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED else 1

sys.exit(main(*sys.argv[1:]))
