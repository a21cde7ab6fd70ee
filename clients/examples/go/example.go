// SPDX-License-Identifier: Apache-2.0

// Holds a slot for a while. usage: example TARGET POOL [SECONDS]
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/golang/protobuf/ptypes/duration"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "leaseplane/v1"
)

func length(d *duration.Duration) time.Duration {
	return time.Duration(d.GetSeconds())*time.Second + time.Duration(d.GetNanos())
}

// The one rule: after this instant the slot may be somebody else's.
func safeUntil(sent time.Time, queued, remaining *duration.Duration) time.Time {
	return sent.Add((length(queued)+length(remaining))*99/100 - 250*time.Millisecond)
}

func refused(err error) int {
	reason, code := "", 1
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			reason = info.GetReason()
		}
	}
	fmt.Println("refused", status.Code(err), reason)
	if status.Code(err) == codes.ResourceExhausted {
		code = 75
	}
	return code
}

// Renews until `end`; returns why the work, which goes on elsewhere, had to stop before, or "".
func hold(ctx context.Context, client pb.LeaseServiceClient, lease *pb.Lease, safe, end time.Time,
	interval time.Duration) string {
	answers, sent := make(chan *pb.KeepAliveResponse), map[int64]time.Time{}
	stream, err := client.KeepAlive(ctx)
	go func() { // when the stream breaks nothing renews, and the safe deadline comes
		for err == nil {
			answer, broken := stream.Recv()
			if broken != nil {
				return
			}
			answers <- answer
		}
	}()
	renewal := time.NewTicker(interval)
	for number := int64(1); ; {
		select {
		case answer := <-answers:
			if lost := answer.GetLost(); lost != nil {
				return lost.Reason.String()
			} else if r := answer.GetRenewed(); r != nil {
				safe = safeUntil(sent[r.Sequence], r.QueuedDuration, r.RemainingDuration)
			}
		case <-renewal.C:
			if sent[number] = time.Now(); err == nil {
				stream.Send(&pb.KeepAliveRequest{Renewals: []*pb.KeepAliveRequest_Renewal{{
					Name: lease.Name, FencingToken: lease.FencingToken, Sequence: number}}})
			}
			number++
		case <-time.After(time.Until(safe)):
			return "SAFE_DEADLINE"
		case <-time.After(time.Until(end)):
			return ""
		}
	}
}

func run(target, pool string, holdFor time.Duration) int {
	connection, err := grpc.Dial(target, grpc.WithInsecure())
	if err != nil {
		return refused(err)
	}
	client := pb.NewLeaseServiceClient(connection)
	id := make([]byte, 16)
	rand.Read(id)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a random UUID
	ctx, cancel := context.WithTimeout(context.Background(), holdFor+10*time.Second)
	defer cancel()
	sent := time.Now() // monotonic
	got, err := client.AcquireLease(ctx, &pb.AcquireLeaseRequest{
		Parent: "pools/" + pool, Ttl: &duration.Duration{Seconds: 15},
		MaxWaitDuration: &duration.Duration{Seconds: 1}, ClientId: "go-example",
		RequestId: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])})
	if err != nil {
		return refused(err)
	}
	lease, safe := got.Lease, safeUntil(sent, got.QueuedDuration, got.RemainingDuration)
	fmt.Printf("held slot=%d token=%d safe_for=%.3f\n", lease.SlotIndex, lease.FencingToken,
		safe.Sub(sent).Seconds()) // the token is for what the slot guards
	why := hold(ctx, client, lease, safe, sent.Add(holdFor), length(got.RenewInterval))
	if why != "" {
		fmt.Println("lost", why)
		return 1
	}
	if _, err = client.ReleaseLease(ctx, &pb.ReleaseLeaseRequest{
		Name: lease.Name, FencingToken: lease.FencingToken}); err != nil {
		return refused(err)
	}
	fmt.Println("released")
	return 0
}

func main() {
	holdFor := 3 * time.Second
	if len(os.Args) > 3 {
		holdFor, _ = time.ParseDuration(os.Args[3] + "s")
	}
	os.Exit(run(os.Args[1], os.Args[2], holdFor))
}
