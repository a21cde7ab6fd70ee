// SPDX-License-Identifier: Apache-2.0

// Holds a slot for a while. usage: example TARGET POOL [SECONDS]
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"sync"
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

func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// Renews until `end`; returns why it had to stop before, or "".
func hold(client pb.LeaseServiceClient, lease *pb.Lease, safe time.Time, interval time.Duration,
	end time.Time) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex // of safe, lost and sent
	sent, lost := map[int64]time.Time{}, ""
	stream, err := client.KeepAlive(ctx)
	go func() { // when the stream breaks nothing renews, and the safe deadline comes
		for err == nil {
			answer, broken := stream.Recv()
			if broken != nil {
				return
			}
			mu.Lock()
			if r := answer.GetRenewed(); r != nil {
				safe = safeUntil(sent[r.Sequence], r.QueuedDuration, r.RemainingDuration)
			} else if l := answer.GetLost(); l != nil {
				lost = l.Reason.String()
			}
			mu.Unlock()
		}
	}()
	renewal := time.Now().Add(interval)
	for number := int64(1); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // the work
		mu.Lock()
		why := lost
		if why == "" && !time.Now().Before(safe) {
			why = "SAFE_DEADLINE"
		}
		isDue := err == nil && !time.Now().Before(renewal)
		if isDue {
			sent[number], renewal = time.Now(), time.Now().Add(interval)
		}
		mu.Unlock()
		if why != "" {
			return why
		}
		if isDue {
			stream.Send(&pb.KeepAliveRequest{Renewals: []*pb.KeepAliveRequest_Renewal{{
				Name: lease.Name, FencingToken: lease.FencingToken, Sequence: number}}})
			number++
		}
	}
	return ""
}

func main() {
	seconds := 3.0
	if len(os.Args) > 3 {
		seconds, _ = strconv.ParseFloat(os.Args[3], 64)
	}
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		panic(err)
	}
	client := pb.NewLeaseServiceClient(connection)
	id := make([]byte, 16)
	rand.Read(id)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a random UUID
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sent := time.Now() // monotonic
	got, err := client.AcquireLease(ctx, &pb.AcquireLeaseRequest{
		Parent: "pools/" + os.Args[2], Ttl: &duration.Duration{Seconds: 15},
		MaxWaitDuration: &duration.Duration{Seconds: 1}, ClientId: "go-example",
		RequestId: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])})
	if err != nil {
		fmt.Println("refused", status.Code(err), reasonOf(err))
		if status.Code(err) == codes.ResourceExhausted {
			os.Exit(75)
		}
		os.Exit(1)
	}
	lease, safe := got.Lease, safeUntil(sent, got.QueuedDuration, got.RemainingDuration)
	fmt.Printf("held slot=%d token=%d safe_for=%.3f\n", lease.SlotIndex, lease.FencingToken,
		safe.Sub(sent).Seconds()) // the token is for what the slot guards
	end := sent.Add(time.Duration(seconds * float64(time.Second)))
	if why := hold(client, lease, safe, length(got.RenewInterval), end); why != "" {
		fmt.Println("lost", why)
		os.Exit(1)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err = client.ReleaseLease(ctx, &pb.ReleaseLeaseRequest{
		Name: lease.Name, FencingToken: lease.FencingToken}); err != nil {
		fmt.Println("refused", status.Code(err), reasonOf(err))
		os.Exit(1)
	}
	fmt.Println("released")
}
