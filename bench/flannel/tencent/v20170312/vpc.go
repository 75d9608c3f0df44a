// Package v20170312 stands for the client of a cloud provider that module proxies do not have at the version that flannel
// requires. flannel's program is compiled with it, and cannot use that cloud: every call is an error. No other part of
// flannel calls it.
package v20170312

import "errors"

var errAbsent = errors.New("this flannel was built without Tencent Cloud's client")

type (
	Client struct{}

	Filter struct {
		Name   *string
		Values []*string
	}

	Route struct {
		RouteId                                                 *uint64
		DestinationCidrBlock, GatewayType, GatewayId, RouteType *string
		Enabled                                                 *bool
	}

	RouteTable struct {
		RouteTableId *string
		RouteSet     []*Route
	}

	DescribeRouteTablesRequest struct{ Filters []*Filter }

	DescribeRouteTablesResponse struct {
		Response *struct{ RouteTableSet []*RouteTable }
	}

	DeleteRoutesRequest struct {
		RouteTableId *string
		Routes       []*Route
	}

	DeleteRoutesResponse struct{}

	CreateRoutesRequest struct {
		RouteTableId *string
		Routes       []*Route
	}

	CreateRoutesResponse struct{}
)

func NewClientWithSecretId(_, _, _ string) (*Client, error) { return &Client{}, nil }

func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest {
	return &DescribeRouteTablesRequest{}
}
func NewDeleteRoutesRequest() *DeleteRoutesRequest { return &DeleteRoutesRequest{} }
func NewCreateRoutesRequest() *CreateRoutesRequest { return &CreateRoutesRequest{} }

func (*Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, errAbsent
}
func (*Client) DeleteRoutes(*DeleteRoutesRequest) (*DeleteRoutesResponse, error) {
	return nil, errAbsent
}
func (*Client) CreateRoutes(*CreateRoutesRequest) (*CreateRoutesResponse, error) {
	return nil, errAbsent
}
