package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	resync = 2 * time.Second       // how often the kernel is compared with what is wanted, should nothing have happened
	settle = 20 * time.Millisecond // changes that come so quickly after one another are one
)

// Speaker speaks BGP with its peers and keeps the kernel's routes to what it learns.
type Speaker struct {
	cfg     Config
	log     *slog.Logger
	server  *server.BgpServer
	table   *table // nil where nothing is installed
	changed chan struct{}

	mu        sync.Mutex
	running   bool
	routes    []Route
	awaited   map[endOfRib]bool // what peers have yet to say before stale routes may go
	staleTill time.Time
	held      bool // the placeholder is there
	seen      map[netip.Addr]api.PeerState_SessionState
}

// learnt is a path that was chosen.
type learnt struct {
	nextHop, from netip.Addr
}

// New makes a speaker, which is idle until Run.
func New(cfg Config, log *slog.Logger) (*Speaker, error) {
	if err := validate(cfg); err != nil {
		return nil, err
	}
	return &Speaker{
		cfg: cfg, log: log, changed: make(chan struct{}, 1),
		awaited: map[endOfRib]bool{}, seen: map[netip.Addr]api.PeerState_SessionState{},
	}, nil
}

// Run speaks until ctx is done, in the network namespace of the process, and calls ready once it listens. It says no goodbye and
// removes no route. GoBGP cannot be unloaded: the process is meant to end after it.
func (s *Speaker) Run(ctx context.Context, ready func()) error {
	restarted := true // where the kernel's routes are not the speaker's, they have outlived it
	if s.cfg.Install != nil {
		t, err := openTable(s.cfg, s.log)
		if err != nil {
			return err
		}
		defer t.handle.Close()
		left, err := t.read()
		if err != nil {
			return err
		}
		s.table, restarted = t, len(left) > 0
		stop, err := watch(s.touch)
		if err != nil {
			return err
		}
		defer stop()
	}
	restarted = restarted && s.cfg.Restart > 0
	if restarted {
		s.expectAll()
	}
	if err := s.start(ctx, restarted); err != nil {
		return err
	}
	ready()

	tick := time.NewTicker(resync)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		case <-tick.C:
		}
		if err := s.reconcile(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("routes are not up to date", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(settle):
		}
	}
}

// touch has the routes compared anew.
func (s *Speaker) touch() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// start brings GoBGP up. What is announced is there before the peers are, and those who will call come before those who are
// called: a connection that comes before its peer is known is refused, and costs seconds.
func (s *Speaker) start(ctx context.Context, restarted bool) error {
	b := server.NewBgpServer(server.LoggerOption(library{s.log}))
	go b.Serve()
	s.mu.Lock()
	s.server = b
	s.mu.Unlock()

	global := &api.Global{
		Asn: s.cfg.AS, RouterId: s.cfg.RouterID.String(), ListenPort: int32(port(s.cfg)),
		Families: []uint32{0, 1}, // IPv4 and IPv6 unicast, as GoBGP counts them
	}
	for _, a := range s.cfg.Listen {
		global.ListenAddresses = append(global.ListenAddresses, a.String())
	}
	if err := b.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return fmt.Errorf("listening on port %d: %w", port(s.cfg), err)
	}
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	if err := s.exportPolicy(ctx); err != nil {
		return fmt.Errorf("policy towards other ASes: %w", err)
	}
	for _, a := range s.cfg.Announce {
		path, err := path(a)
		if err != nil {
			return fmt.Errorf("announcing %s: %w", a.Prefix, err)
		}
		if _, err := b.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: path}); err != nil {
			return fmt.Errorf("announcing %s: %w", a.Prefix, err)
		}
	}
	if restarted {
		if err := s.hold(ctx); err != nil {
			return fmt.Errorf("peer %s, by which a restart is drawn out: %w; is lo up?", s.placeholder(), err)
		}
	}
	peers := slices.Clone(s.cfg.Peers)
	slices.SortStableFunc(peers, func(a, b Peer) int { return rank(a) - rank(b) })
	for _, p := range peers {
		if err := b.AddPeer(ctx, &api.AddPeerRequest{Peer: s.peer(p, restarted)}); err != nil {
			return fmt.Errorf("peer %s: %w", p.Address, err)
		}
	}
	return nil
}

func rank(p Peer) int {
	if p.Passive {
		return 0
	}
	return 1
}

// peer is a peer as GoBGP wants it. Its defaults are for the Internet, and leave a lab waiting for minutes. A speaker that comes
// back calls those too for whose call it waited at first: FRR does not call a peer that it holds for restarting.
func (s *Speaker) peer(p Peer, restarted bool) *api.Peer {
	n := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.AS},
		Transport: &api.Transport{LocalAddress: local(s.cfg, p).String(), RemotePort: uint32(port(s.cfg)), PassiveMode: p.Passive && !restarted},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: 1, IdleHoldTimeAfterReset: 1, HoldTime: 90, KeepaliveInterval: 30,
		}},
	}
	if p.Hops > 1 && p.AS != s.cfg.AS {
		n.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.Hops)}
	}
	if p.Client {
		n.RouteReflector = &api.RouteReflector{RouteReflectorClient: true}
		if p.ClusterID.IsValid() {
			n.RouteReflector.RouteReflectorClusterId = p.ClusterID.String()
		}
	}
	if s.cfg.Restart > 0 {
		n.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(s.cfg.Restart), DeferralTime: deferralTime(s.cfg), LocalRestarting: restarted,
		}
	}
	for _, f := range families(p) {
		n.AfiSafis = append(n.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: family(f), Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: s.cfg.Restart > 0}},
		})
	}
	return n
}

// family gives nil for what is none.
func family(name string) *api.Family {
	switch name {
	case "ipv4":
		return &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	case "ipv6":
		return &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}
	}
	return nil
}

// path is an announcement as GoBGP wants it, of origin IGP: GoBGP's own would lose against everybody else's.
func path(a Announcement) (*api.Path, error) {
	name := "ipv4"
	if !a.Prefix.Addr().Is4() {
		name = "ipv6"
	}
	path := &api.Path{Family: family(name)}
	var err error
	path.Nlri, err = anypb.New(&api.IPAddressPrefix{Prefix: a.Prefix.Addr().String(), PrefixLen: uint32(a.Prefix.Bits())})
	if err != nil {
		return nil, err
	}
	attributes := []proto.Message{&api.OriginAttribute{Origin: uint32(bgp.BGP_ORIGIN_ATTR_TYPE_IGP)}}
	if name == "ipv4" {
		attributes = append(attributes, &api.NextHopAttribute{NextHop: a.NextHop.String()})
	} else {
		attributes = append(attributes, &api.MpReachNLRIAttribute{
			Family: path.Family, NextHops: []string{a.NextHop.String()}, Nlris: []*anypb.Any{path.Nlri},
		})
	}
	if a.NoExport {
		attributes = append(attributes, &api.CommunitiesAttribute{Communities: []uint32{uint32(bgp.COMMUNITY_NO_EXPORT)}})
	}
	for _, m := range attributes {
		any, err := anypb.New(m)
		if err != nil {
			return nil, err
		}
		path.Pattrs = append(path.Pattrs, any)
	}
	return path, nil
}

// subscribe hears from GoBGP of sessions, of routes, and of peers that have said all.
func (s *Speaker) subscribe(ctx context.Context) error {
	tables := func(t api.WatchEventRequest_Table_Filter_Type) *api.WatchEventRequest {
		return &api.WatchEventRequest{Table: &api.WatchEventRequest_Table{Filters: []*api.WatchEventRequest_Table_Filter{{Type: t}}}}
	}
	err := s.server.WatchEvent(ctx, tables(api.WatchEventRequest_Table_Filter_BEST), func(*api.WatchEventResponse) { s.touch() })
	if err != nil {
		return fmt.Errorf("watching best paths: %w", err)
	}
	err = s.server.WatchEvent(ctx, tables(api.WatchEventRequest_Table_Filter_EOR), func(r *api.WatchEventResponse) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range r.GetTable().GetPaths() {
			if a, err := netip.ParseAddr(p.NeighborIp); err == nil {
				delete(s.awaited, endOfRib{a, p.Family.GetAfi()})
			}
		}
		s.touch()
	})
	if err != nil {
		return fmt.Errorf("watching for the end of the peers' tables: %w", err)
	}
	sessions := &api.WatchEventRequest{Peer: &api.WatchEventRequest_Peer{}}
	if err := s.server.WatchEvent(ctx, sessions, func(r *api.WatchEventResponse) { s.session(ctx, r.GetPeer()) }); err != nil {
		return fmt.Errorf("watching sessions: %w", err)
	}
	return nil
}

// session hears of a session's new state.
func (s *Speaker) session(ctx context.Context, e *api.WatchEventResponse_PeerEvent) {
	if e.GetType() != api.WatchEventResponse_PeerEvent_STATE {
		return
	}
	peer, err := netip.ParseAddr(e.Peer.GetState().GetNeighborAddress())
	if err != nil || peer == s.placeholder() {
		return
	}
	state := e.Peer.State.SessionState
	s.mu.Lock()
	before := s.seen[peer]
	s.seen[peer] = state
	s.mu.Unlock()
	switch {
	case state == api.PeerState_ESTABLISHED:
		s.log.Info("session established", "peer", peer)
	case before == api.PeerState_ESTABLISHED:
		s.log.Info("session lost", "peer", peer)
	}
	if state == api.PeerState_IDLE && before > api.PeerState_IDLE {
		go s.hasten(ctx, peer.String())
	}
}

// reconcile makes the kernel's routes those that GoBGP holds for best.
func (s *Speaker) reconcile(ctx context.Context) error {
	keep := s.restarting(ctx)
	best, err := s.best(ctx)
	if err != nil {
		return err
	}
	wanted := map[netip.Prefix][]netip.Addr{}
	for p, paths := range best {
		for _, l := range paths {
			wanted[p] = append(wanted[p], l.nextHop)
		}
	}
	var stands map[netip.Prefix]bool
	if s.table != nil {
		if stands, err = s.table.set(wanted, keep); err != nil {
			return err
		}
	}
	var routes []Route
	for _, p := range slices.SortedFunc(maps.Keys(best), netip.Prefix.Compare) {
		for _, l := range best[p] {
			routes = append(routes, Route{Prefix: p, NextHop: l.nextHop, From: l.from, Installed: stands[p]})
		}
	}
	s.mu.Lock()
	s.routes = routes
	s.mu.Unlock()
	return nil
}

// best lists the chosen paths of learnt prefixes.
func (s *Speaker) best(ctx context.Context) (map[netip.Prefix][]learnt, error) {
	found := map[netip.Prefix][]learnt{}
	for _, name := range []string{"ipv4", "ipv6"} {
		r := &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: family(name), EnableOnlyBinary: true}
		err := s.server.ListPath(ctx, r, func(d *api.Destination) {
			prefix, err := netip.ParsePrefix(d.Prefix)
			if err != nil {
				return
			}
			if paths := s.choose(d.Paths); len(paths) > 0 {
				found[prefix] = paths
			}
		})
		if err != nil {
			return nil, fmt.Errorf("listing %s paths: %w", name, err)
		}
	}
	return found, nil
}

// choose takes the best path, which GoBGP lists first, and those as good as it where several are used; none where the best is
// our own.
func (s *Speaker) choose(paths []*api.Path) []learnt {
	var chosen []learnt
	var first merit
	for i, p := range paths {
		from, err := netip.ParseAddr(p.NeighborIp)
		nextHop, m := weigh(p)
		if i == 0 {
			first = m
			if err != nil {
				return nil
			}
		}
		if err != nil || !nextHop.IsValid() || p.IsNexthopInvalid || slices.Contains(s.cfg.Listen, nextHop) || m != first {
			continue
		}
		chosen = append(chosen, learnt{nextHop, from})
		if s.cfg.Install == nil || !s.cfg.Install.Multipath {
			break
		}
	}
	slices.SortFunc(chosen, func(a, b learnt) int { return a.nextHop.Compare(b.nextHop) })
	return slices.CompactFunc(chosen, func(a, b learnt) bool { return a.nextHop == b.nextHop })
}

// merit is what must be equal in paths that are used side by side.
type merit struct {
	external        bool
	preference, med uint32
	hops, origin    int
}

func weigh(p *api.Path) (netip.Addr, merit) {
	m := merit{external: p.IsFromExternal, preference: 100}
	var nextHop netip.Addr
	attributes, err := apiutil.GetNativePathAttributes(p)
	if err != nil {
		return nextHop, m
	}
	for _, a := range attributes {
		switch a := a.(type) {
		case *bgp.PathAttributeNextHop:
			nextHop = addrOf(a.Value)
		case *bgp.PathAttributeMpReachNLRI:
			nextHop = addrOf(a.Nexthop)
		case *bgp.PathAttributeLocalPref:
			m.preference = a.Value
		case *bgp.PathAttributeMultiExitDisc:
			m.med = a.Value
		case *bgp.PathAttributeOrigin:
			m.origin = int(a.Value)
		case *bgp.PathAttributeAsPath:
			for _, part := range a.Value {
				m.hops += part.ASLen()
			}
		}
	}
	return nextHop, m
}

// Status tells what the speaker knows now. It may be called at any time.
func (s *Speaker) Status() Status {
	status := Status{Sessions: []Session{}, Routes: []Route{}}
	s.mu.Lock()
	running := s.running
	status.Routes = append(status.Routes, s.routes...)
	s.mu.Unlock()
	if !running {
		return status
	}
	ctx := context.Background()
	err := s.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
		address, err := netip.ParseAddr(p.Conf.GetNeighborAddress())
		if err != nil || address == s.placeholder() {
			return
		}
		session := Session{Peer: address, AS: p.Conf.PeerAsn, State: strings.ToLower(p.State.GetSessionState().String())}
		for _, f := range p.AfiSafis {
			session.Received += f.State.GetReceived()
			session.Accepted += f.State.GetAccepted()
		}
		if up := p.Timers.GetState().GetUptime(); p.State.GetSessionState() == api.PeerState_ESTABLISHED && up != nil {
			session.UpSeconds = int64(time.Since(up.AsTime()).Seconds())
		}
		status.Sessions = append(status.Sessions, session)
	})
	for i := range status.Sessions {
		if session := &status.Sessions[i]; session.State == "established" && err == nil {
			session.Advertised, err = s.advertised(ctx, session.Peer)
		}
	}
	if err != nil {
		s.log.Warn("the status of the sessions is not whole", "error", err)
	}
	slices.SortFunc(status.Sessions, func(a, b Session) int { return a.Peer.Compare(b.Peer) })
	status.judge(s.cfg)
	return status
}

// advertised counts the prefixes that were told to a peer; GoBGP's own count has the end-of-RIB in it.
func (s *Speaker) advertised(ctx context.Context, peer netip.Addr) (n uint64, err error) {
	i := slices.IndexFunc(s.cfg.Peers, func(p Peer) bool { return p.Address == peer })
	for _, name := range families(s.cfg.Peers[i]) {
		r := &api.ListPathRequest{TableType: api.TableType_ADJ_OUT, Name: peer.String(), Family: family(name), EnableOnlyBinary: true}
		if err := s.server.ListPath(ctx, r, func(*api.Destination) { n++ }); err != nil {
			return n, err
		}
	}
	return n, nil
}
