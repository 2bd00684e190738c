"""Search over candidates whose success is a matter of chance: bandits with booked error, certificates, amplitude estimation."""
