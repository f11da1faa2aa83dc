package faults

// All lists the faults by level, in the order in which people are shown them.
var All = []*Fault{
	forwardingOff, routeMissing, podGatewayMissing, bridgeAddress, offBridge, renumbered, podMTULow,
	fdbMissing, neighbourMissing, vlanWrong, nodeGatewayMissing, hostGatewayMissing, serviceMissing,
	portOther, crashed, targetWrong,

	hopAbsent, blackholeLeft, podRouteMissing, ruleMissing, arpStuck, podARPStuck, interfaceForwardingOff, forwardingOff6, routerRouteMissing,
	neighbourWrong, fdbWrong, vniWrong, portWrong, tunnelBlocked, proxyPort, notAnnounced, policyLeft, masqueraded, uplinkMTULow, trunkMissing, hairpinOff,
	loOnly, endpointGone,

	nodeMask, routeMTU, switchMTULow, duplicate, macvlanPrivate, bridgePasses, keptLocal, entryStale,
}
