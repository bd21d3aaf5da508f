# RDR-KD table II, row 3.
_base_ = './rdr-kd_yolov8_l-n_pafpn_100e_visdrone-640.py'
model = dict(distiller=dict(only=['decoupled']))
