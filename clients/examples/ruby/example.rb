# SPDX-License-Identifier: Apache-2.0
# Holds a slot for a while. usage: example.rb TARGET POOL [SECONDS]
require "securerandom"
require "google/protobuf/well_known_types"
require "leaseplane/v1/lease_service_services_pb"
require "google/rpc/status_pb"
require "google/rpc/error_details_pb"
include Leaseplane::V1

def now = Process.clock_gettime(Process::CLOCK_BOOTTIME) # goes on while the host is suspended
def seconds(duration) = duration.nil? ? 0.0 : duration.seconds + duration.nanos / 1e9

def reason_of(error)
  bytes = error.metadata["grpc-status-details-bin"] or return nil
  info = Google::Rpc::Status.decode(bytes).details.find { |d| d.is(Google::Rpc::ErrorInfo) }
  info&.unpack(Google::Rpc::ErrorInfo)&.reason
end

# The one rule: after this instant the slot may be somebody else's.
def safe_until(sent, answer)
  sent + (seconds(answer.queued_duration) + seconds(answer.remaining_duration)) * 0.99 - 0.25
end

def hold(stub, lease, safe, interval, ends)
  requests, sent, lost, number = Queue.new, {}, nil, 0
  Thread.new do
    stub.keep_alive(Enumerator.new { |out| while (r = requests.pop) do out << r end }).each do |a|
      safe = safe_until(sent[a.renewed.sequence], a.renewed) if a.renewed
      lost = a.lost.reason if a.lost
    end
  rescue GRPC::BadStatus # then nothing renews, and the safe deadline comes
  end
  renewal = now + interval
  while now < ends && !lost && now < safe
    if now >= renewal
      sent[number += 1], renewal = now, now + interval
      requests << KeepAliveRequest.new(renewals: [KeepAliveRequest::Renewal.new(
        name: lease.name, fencing_token: lease.fencing_token, sequence: number)])
    end
    sleep 0.02 # a piece of the work; hand lease.fencing_token to what the slot guards
  end
  requests << nil
  lost || (now >= safe ? "SAFE_DEADLINE" : nil)
end

target, pool, time = ARGV[0], ARGV[1], (ARGV[2] || 3).to_f
stub = LeaseService::Stub.new(target, :this_channel_is_insecure, timeout: 3600)
sent = now
begin
  got = stub.acquire_lease(AcquireLeaseRequest.new(
    parent: "pools/#{pool}", ttl: Google::Protobuf::Duration.new(seconds: 15),
    max_wait_duration: Google::Protobuf::Duration.new(seconds: 1), client_id: "ruby-example",
    request_id: SecureRandom.uuid), deadline: Time.now + 10)
  lease, safe = got.lease, safe_until(sent, got)
  puts format("held slot=%d token=%d safe_for=%.3f", lease.slot_index, lease.fencing_token,
              safe - sent)
  $stdout.flush
  why = hold(stub, lease, safe, seconds(got.renew_interval), sent + time)
  why or stub.release_lease(ReleaseLeaseRequest.new(name: lease.name,
                                                    fencing_token: lease.fencing_token))
  puts why ? "lost #{why}" : "released"
  exit why ? 1 : 0
rescue GRPC::BadStatus => error
  code = GRPC::Core::StatusCodes.constants.find do |c|
    GRPC::Core::StatusCodes.const_get(c) == error.code
  end
  puts "refused #{code} #{reason_of(error)}"
  exit error.is_a?(GRPC::ResourceExhausted) ? 75 : 1
end
